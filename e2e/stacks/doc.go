// Package stacks tests streams behind the middlewares, tracers and loggers that Gin
// applications have, the real modules of them, and finds the table of docs/stacks.md:
//
//	go test ./stacks          # the table still holds
//	go test ./stacks -v       # with what was found and logged
//	go test ./stacks -update  # writes what it found into docs/stacks.md
package stacks
