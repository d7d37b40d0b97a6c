"""From any head CT to a mask in its own space: reading, checking, engines, measuring, writing."""
