"""The normalized sparsity prior of Krishnan, Tay and Fergus (CVPR 2011), as an image prior for deblurkit."""
