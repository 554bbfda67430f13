//go:build !linux

// Package differs has another API on Linux than elsewhere.
package differs

// Somewhere is for the others.
func Somewhere(n int64) {}
