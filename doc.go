// Package ssegin pushes events from Gin to browsers: Server-Sent Events (WHATWG
// HTML §9.2) as a middleware, a handler and a hub.
package ssegin
