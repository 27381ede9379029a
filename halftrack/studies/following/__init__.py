"""Training runs followed while they go on, shown on a page, compared, and told to other tools."""
