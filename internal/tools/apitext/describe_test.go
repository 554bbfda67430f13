package main

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"strings"
	"testing"
)

const source = `package sample

import "time"

const (
	Wait           = 2 * time.Second
	Name    Reason = "name"
	Limit          = 1 << 70
	private        = 1
)

var ErrGone, errPrivate error

func New(key, topic string, options ...func(*T)) (t *T, err error) { return nil, nil }

func Map[K comparable](m map[K]any) {}

func helper() {}

type Reason string

type Alias = time.Duration

type AliasOfHidden = *base

type Option func(*base)

type Set[K comparable] struct{ keys []K }

func (Set[K]) Has(k K) bool { return false }

type Shape interface {
	Named
	Area() float64
	sealed()
}

type Named interface{ Name() string }

type Number interface{ ~int | ~float64 }

type T struct {
	Inner
	*base
	ID     string ` + "`json:\"id\"`" + `
	Second int
	First  int
	hidden int
}

func (T) Value() {}

func (*T) Pointer() {}

func (*T) private() {}

type Inner struct{ Deep int }

func (Inner) FromInner(time.Duration) {}

type base struct {
	FromBase []byte
	n        int
}

func (*base) Base() {}
`

const text = `package sample // import "example.com/sample"

import "time"

const Limit untyped int = 1180591620717411303424
const Name Reason = "name"
const Wait time.Duration = 2000000000

var ErrGone error

func Map[K comparable](m map[K]any)
func New(key string, topic string, options ...func(*T)) (t *T, err error)

type Alias = time.Duration

type AliasOfHidden = *base
	FromBase []byte
	// unexported fields
	func (*base) Base()

type Inner struct
	Deep int
	func (Inner) FromInner(time.Duration)

type Named interface
	Name() string

type Number interface{~int | ~float64}

type Option func(*base)

type Reason string

type Set[K comparable] struct // not comparable
	// unexported fields
	func (Set[K comparable]) Has(k K) bool

type Shape interface
	Area() float64
	Name() string
	// unexported methods

type T struct
	Inner
	FromBase []byte
	ID string ` + "`json:\"id\"`" + `
	Second int
	First int
	// unexported fields
	func (T) Base()
	func (T) FromInner(time.Duration)
	func (*T) Pointer()
	func (T) Value()
`

func TestDescribe_sample(t *testing.T) {
	wantText(t, text, describe(check(t, source)))
}

// What a caller could notice is another text.
func TestDescribe_showsEachChange(t *testing.T) {
	unchanged := describe(check(t, source))
	for _, row := range []struct{ what, before, after string }{
		{"a constant's value", `"name"`, `"nom"`},
		{"a constant's type", "Name    Reason", "Name    string"},
		{"a parameter's type", "key, topic string", "key, topic []byte"},
		{"parameters that change places", "key, topic string", "topic, key string"},
		{"a result", "(t *T, err error)", "(t *Inner, err error)"},
		{"a constraint", "Map[K comparable]", "Map[K ~string]"},
		{"a field that is no more", "\tSecond int\n", ""},
		{"fields that change places", "\tSecond int\n\tFirst  int\n", "\tFirst  int\n\tSecond int\n"},
		{"a tag", `json:"id"`, `json:"ID"`},
		{"a method more", "func (T) Value() {}", "func (T) Value() {}\n\nfunc (T) Another() {}"},
		{"a receiver", "func (T) Value", "func (*T) Value"},
		{"a method of an embedded type", "FromInner(time", "FromOuter(time"},
		{"a field of an embedded type", "FromBase", "FromElse"},
		{"a method of an interface", "Area()", "Size()"},
		{"an interface that is open to others", "\tsealed()\n", ""},
		{"an interface's type set", "~float64", "~string"},
		{"a type that is no longer comparable", "hidden int", "hidden []int"},
		{"an alias", "Alias = time.Duration", "Alias = time.Time"},
	} {
		t.Run(row.what, func(t *testing.T) {
			changed := strings.ReplaceAll(source, row.before, row.after)
			if changed == source {
				t.Fatalf("the sample has no %q", row.before)
			}
			if describe(check(t, changed)) == unchanged {
				t.Error("the text is the same")
			}
		})
	}
}

// What has been imported once stays in memory.
var (
	files   = token.NewFileSet()
	imports = importer.ForCompiler(files, "source", nil)
)

func check(t *testing.T, source string) *types.Package {
	t.Helper()
	file, err := parser.ParseFile(files, "sample.go", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	config := types.Config{Importer: imports}
	pkg, err := config.Check("example.com/sample", files, []*ast.File{file}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return pkg
}

func wantText(t *testing.T, want, got string) {
	t.Helper()
	if a, b := difference(want, got); a != b {
		t.Errorf("want %q\nhave %q\nin\n%s", a, b, got)
	}
}
