// Package proxies tests streams behind the proxies that stand in front of most
// applications, each as a program of its own in the version that Debian has, with
// the configuration that docs/proxies.md prints:
//
//	go test ./proxies                # the table of docs/proxies.md still holds
//	go test ./proxies -v             # with the figures
//	go test ./proxies -update        # writes what it found into docs/proxies.md
//	SSEGIN_LONG=1 go test ./proxies  # with heartbeats every 15 s, and thousands of POSTs beside ends
package proxies
