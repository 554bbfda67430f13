// Package differs has another API on Linux than elsewhere.
package differs

// Somewhere is for Linux.
func Somewhere(n int) {}
