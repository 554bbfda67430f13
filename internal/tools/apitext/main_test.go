package main

import (
	"strings"
	"testing"
)

func TestAPI_isWhatOthersCanImport(t *testing.T) {
	t.Chdir("testdata")
	got, err := api([]string{"./same/..."})
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, "package same // import \"example.com/sample/same\"\n\nfunc Everywhere(n int)\n", got)
}

func TestAPI_mustBeTheSameOnEachSystem(t *testing.T) {
	t.Chdir("testdata")
	const want = `linux has "func Somewhere(n int)" where windows has "func Somewhere(n int64)"`
	if _, err := api([]string{"./differs"}); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("the error is %v", err)
	}
}

func TestAPI_refusesWhatItCannotRead(t *testing.T) {
	t.Chdir("testdata")
	for _, pattern := range []string{"./broken", "./none", "./same/internal/..."} {
		if got, err := api([]string{pattern}); err == nil {
			t.Errorf("%s: no error, but %q", pattern, got)
		}
	}
}
