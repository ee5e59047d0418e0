"""What Pointsman costs, measured side by side in one run. `make bench`, or `python -m benchmarks SECTION...`."""
