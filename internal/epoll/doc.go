// Package epoll writes to many connections without waiting for any of them, and
// hears from the kernel which of them can be written again or are gone. It is
// for Linux only; on other systems it is not Available.
package epoll
