//go:build !linux

package cluster

// listener names the process that listens on a TCP port; that cannot be known here.
func listener(int) string { return "" }
