"""What models exist, what they take and what they cost. A leaf: imports no other package of ours."""
