"""Pictures of frames and detections. They need matplotlib (extra `plot`), which is imported only when one is drawn."""
