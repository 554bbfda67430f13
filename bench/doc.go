// Package bench compares event-stream libraries. What it measures, and how, is
// in the README; cmd/ssebench does it. This package itself only holds the Go
// benchmarks that compare how the libraries encode an event.
package bench
