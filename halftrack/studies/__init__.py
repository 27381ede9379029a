"""The questions that halftrack exists for, one folder or file each."""
