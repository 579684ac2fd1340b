"""What influence costs and how exact it is, on a CUDA GPU."""
