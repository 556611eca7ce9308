"""Evaluation: how well detections agree with labels, by KITTI's and Waymo's rules, and the report that shows it."""
