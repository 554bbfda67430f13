// Package suites runs the tests of other projects that speak Server-Sent Events
// with their handlers in a Gin engine, once bare and once behind
// ssegin.Middleware: what passes in the first must pass in the second. Their
// handlers know nothing of this library, so each difference is a fault of
// Middleware that somebody would meet.
//
// The suites, at the versions that suites_test.go names:
//
//   - modelcontextprotocol/go-sdk: its mcp, both transports over HTTP
//   - mark3labs/mcp-go: its server
//   - 99designs/gqlgen: its handlers, where subscriptions are streams
//   - a2aproject/a2a-go: all of it
//   - starfederation/datastar-go: its own tests, and the cases of
//     testdata/datastar for the server that it has for the tests of its SDK.
//     The golden cases of Datastar itself are in no registry.
//
// Each comes from the module proxy and is copied into a temporary folder, where
// every import of net/http/httptest becomes one of ginhttptest.
//
//	go test .                # the tests that speak HTTP, a minute
//	SSEGIN_LONG=1 go test .  # the suites in full, some minutes
//	go test -v .             # with the figures
package suites
