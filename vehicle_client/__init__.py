"""What runs on a vehicle: scans in, encoded features out; raw points and own detections stay here."""
