"""What vehicles and server share: records, geometry, sparse convolution, detectors, codecs, guards and datasets."""
