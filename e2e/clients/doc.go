// Package clients tries the clients that people read event streams with: the
// packages of npm, Go and Python as they are installed, and what runs in a page
// of Chromium. Each of them meets the same server in each way that it can be
// served, and the same faults, and what its application was given is compared
// with what is recorded.
//
//	go test .                # what the documentation advises, a minute and a half
//	SSEGIN_LONG=1 go test .  # every cell, three minutes
//	go test . -update        # record testdata/cells.txt and docs/clients.md anew
//	go test . -v -only NAME  # one client, with what happened in each cell
//
// To add a client, add an adapter to the driver of its language (npm/driver.mjs,
// npm/page.mjs, python/driver.py, golang/adapters.go) and a line to clients_test.go.
//
// make e2e-deps installs what the test needs.
package clients
