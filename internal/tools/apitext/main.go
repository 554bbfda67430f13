// Command apitext prints the exported API of the packages that its arguments
// name. The text is made to be kept in a file and compared with what is printed
// later.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/tools/go/packages"
)

// Build tags choose files, but they must not choose the API: what it prints is
// the same on each of these.
var systems = []string{"linux", "windows"}

func main() {
	text, err := api(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "apitext:", err)
		os.Exit(1)
	}
	fmt.Print(text)
}

func api(patterns []string) (string, error) {
	var first string
	for i, system := range systems {
		text, err := apiOn(system, patterns)
		if err != nil {
			return "", fmt.Errorf("on %s: %w", system, err)
		}
		if i == 0 {
			first = text
		} else if a, b := difference(first, text); a != b {
			return "", fmt.Errorf("the API depends on the system: %s has %q where %s has %q", systems[0], a, system, b)
		}
	}
	return first, nil
}

// The packages are read from their source, because export data would have to be
// compiled for each system first.
func apiOn(system string, patterns []string) (string, error) {
	loaded, err := packages.Load(&packages.Config{
		Mode: packages.NeedName | packages.NeedTypes | packages.NeedImports | packages.NeedDeps,
		Env:  append(os.Environ(), "GOOS="+system, "CGO_ENABLED=0"),
	}, patterns...)
	if err != nil {
		return "", err
	}
	var texts []string
	for _, p := range loaded {
		if len(p.Errors) > 0 {
			return "", p.Errors[0]
		}
		if p.Name != "main" && !isInternal(p.PkgPath) {
			texts = append(texts, describe(p.Types))
		}
	}
	if len(texts) == 0 {
		return "", errors.New("no package that others can import")
	}
	return strings.Join(texts, "\n"), nil
}

func isInternal(path string) bool {
	return strings.Contains("/"+path+"/", "/internal/")
}

// Difference returns the first two lines that are not the same.
func difference(a, b string) (string, string) {
	for a != b {
		var lineA, lineB string
		lineA, a, _ = strings.Cut(a, "\n")
		lineB, b, _ = strings.Cut(b, "\n")
		if lineA != lineB {
			return lineA, lineB
		}
	}
	return "", ""
}
