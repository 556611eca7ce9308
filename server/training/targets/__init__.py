"""What each part of a detector should answer: for anchors, for regions of interest, for keypoints."""
