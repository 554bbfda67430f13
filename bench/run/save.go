package run

import (
	"bytes"
	"os"
	"path/filepath"
)

// The files that Save writes.
const (
	tablesFile  = "results.md"
	pictureFile = "results.svg"
)

// Save writes the tables and the picture into folder, which is made if need be.
func (r Results) Save(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	var tables bytes.Buffer
	tables.WriteString("# Results\n\nWritten by `make bench`; [the bench folder](../../bench) says how it measures.\n\n")
	tables.WriteString("![the main figures as bars](" + pictureFile + ")\n\n")
	if err := r.WriteTables(&tables); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, tablesFile), tables.Bytes(), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, pictureFile), r.picture(), 0o644)
}
