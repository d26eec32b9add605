//go:build !linux

package applet

// forgetStart has nothing to do: other systems are not asked how much memory a cluster takes.
func forgetStart() {}
