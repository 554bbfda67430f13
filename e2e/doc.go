// Package e2e tests the example as a person meets it: the program as it is
// built, in a real browser, and behind a real proxy.
//
//	go test ./...         # everything, a minute
//	go test -short ./...  # without the long waits
//	go test -v ./...      # with the figures
//
// It needs chromium and nginx; make e2e-deps installs them. What the browser
// showed is in screenshots/ afterwards.
package e2e
