"""Files that several tasks share: columns of boxes, seqinfo.ini, lines of targets, CocoVID."""
