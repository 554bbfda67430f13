// Package e2e tests the example as a person meets it: the program as it is
// built, in a real browser, and behind a real proxy. It also makes the faults
// that need a process of their own: one that is stopped, a crowd that is
// killed, a peer that falls silent, a server that is measured alone.
//
//	go test ./...                # everything, some minutes
//	go test -short ./...         # without the long waits
//	go test -v ./...             # with the figures
//	SSEGIN_LONG=1 go test ./...  # the faults in full
//
// It also builds the example of natslog, three processes on one log, and kills
// them.
//
// The folder suites runs the tests of other projects behind ssegin.Middleware, and
// proxies and stacks try what stands in front of streams; clients tries the clients of
// npm, Go and Python against it and a hub.
//
// It needs Chromium, Firefox, WebKitGTK's MiniBrowser with Xvfb, the proxies that
// docs/proxies.md has, and, for the clients, npm, python3-requests and python3-httpx; make
// e2e-deps installs them. What Chromium showed is in screenshots/
// afterwards.
package e2e
