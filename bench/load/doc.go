// Package load is the load generator: many event streams read by one thread.
//
// It is meant to cost little beside the server that it measures, on the same
// few cores. So there is no goroutine, no bufio and no HTTP client for a
// stream: an epoll loop reads what is there into one buffer, a scanner cuts it
// into frames without copying, and of each frame only the sequence number and
// the time of sending are read.
package load
