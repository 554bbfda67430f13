package main

import (
	"cmp"
	"fmt"
	"go/types"
	"maps"
	"slices"
	"strings"
)

// A description is the exported API of one package. Each constant, variable,
// function, type, field and method is one line.
type description struct {
	pkg     *types.Package
	imports map[string]bool // the paths of the packages that the lines name
	lines   []string
}

func describe(pkg *types.Package) string {
	d := &description{pkg: pkg, imports: map[string]bool{}}
	before := -1
	for _, object := range exported(pkg.Scope()) {
		if rank(object) != before || rank(object) == rankOfTypes {
			d.line("")
		}
		before = rank(object)
		d.object(object)
	}
	return strings.Join(append(d.head(), d.lines...), "\n") + "\n"
}

// Head names the imports with their paths, because the lines show only names: the
// next major version of an import has the same name.
func (d *description) head() []string {
	head := []string{fmt.Sprintf("package %s // import %q", d.pkg.Name(), d.pkg.Path())}
	if len(d.imports) > 0 {
		head = append(head, "")
	}
	for _, path := range slices.Sorted(maps.Keys(d.imports)) {
		head = append(head, fmt.Sprintf("import %q", path))
	}
	return head
}

// Exported returns the constants, the variables, the functions and the types, in
// this order, each of them by name.
func exported(scope *types.Scope) []types.Object {
	var objects []types.Object
	for _, name := range scope.Names() {
		if object := scope.Lookup(name); object.Exported() {
			objects = append(objects, object)
		}
	}
	slices.SortStableFunc(objects, func(a, b types.Object) int { return cmp.Compare(rank(a), rank(b)) })
	return objects
}

const rankOfTypes = 3

func rank(object types.Object) int {
	switch object.(type) {
	case *types.Const:
		return 0
	case *types.Var:
		return 1
	case *types.Func:
		return 2
	default:
		return rankOfTypes
	}
}

func (d *description) object(object types.Object) {
	name := object.Name()
	switch object := object.(type) {
	case *types.Const:
		d.line("const %s %s = %s", name, d.typeText(object.Type()), object.Val().ExactString())
	case *types.Var:
		d.line("var %s %s", name, d.typeText(object.Type()))
	case *types.Func:
		d.line("func %s%s", name, d.signature(object.Type()))
	case *types.TypeName:
		d.declaration(object)
	}
}

func (d *description) declaration(name *types.TypeName) {
	t := name.Type()
	if alias, ok := t.(*types.Alias); ok {
		d.line("type %s = %s", name.Name(), d.typeText(alias.Rhs()))
		if t = hidden(alias.Rhs()); t == nil {
			return
		}
	} else {
		d.line("type %s %s", d.typeText(t), d.kind(t))
	}
	if fields, ok := t.Underlying().(*types.Struct); ok && d.fields(fields) {
		d.line("\t// unexported fields")
	}
	d.methods(t)
}

// Kind says what a type is made of, without what the lines below it list.
func (d *description) kind(t types.Type) string {
	switch under := t.Underlying().(type) {
	case *types.Struct:
		if !types.Comparable(t) {
			return "struct // not comparable"
		}
		return "struct"
	case *types.Interface:
		if under.IsMethodSet() {
			return "interface"
		}
	}
	return d.typeText(t.Underlying())
}

// Fields keeps the order of the fields, on which literals without names depend.
// It returns whether some of them are not exported.
func (d *description) fields(s *types.Struct) (closed bool) {
	for i := range s.NumFields() {
		field := s.Field(i)
		if field.Exported() {
			d.line("\t%s", d.field(field, s.Tag(i)))
		} else {
			closed = true
		}
		if inner := promoted(field); inner != nil {
			closed = d.fields(inner) || closed
		}
	}
	return closed
}

func (d *description) field(field *types.Var, tag string) string {
	text := d.typeText(field.Type())
	if !field.Embedded() {
		text = field.Name() + " " + text
	}
	if tag != "" {
		text += " `" + tag + "`"
	}
	return text
}

// Promoted returns the struct whose fields callers see only as fields of the
// struct that embeds it.
func promoted(field *types.Var) *types.Struct {
	if !field.Embedded() {
		return nil
	}
	if t := hidden(field.Type()); t != nil {
		fields, _ := t.Underlying().(*types.Struct)
		return fields
	}
	return nil
}

// Hidden returns the named type behind t, if callers cannot name it themselves.
func hidden(t types.Type) types.Type {
	if pointer, ok := types.Unalias(t).(*types.Pointer); ok {
		t = pointer.Elem()
	}
	named, ok := types.Unalias(t).(*types.Named)
	if !ok || named.Obj().Pkg() == nil {
		return nil
	}
	if named.Obj().Exported() && !isInternal(named.Obj().Pkg().Path()) {
		return nil
	}
	return named
}

// Methods lists the methods of embedded types too.
func (d *description) methods(t types.Type) {
	ofValue, all, closed := types.NewMethodSet(t), types.NewMethodSet(types.NewPointer(t)), false
	if types.IsInterface(t) {
		all = ofValue
	}
	receiver := d.typeText(t)
	for method := range all.Methods() {
		name, signature := method.Obj().Name(), d.signature(method.Type())
		switch {
		case !method.Obj().Exported():
			closed = true
		case types.IsInterface(t):
			d.line("\t%s%s", name, signature)
		case ofValue.Lookup(nil, name) == nil:
			d.line("\tfunc (*%s) %s%s", receiver, name, signature)
		default:
			d.line("\tfunc (%s) %s%s", receiver, name, signature)
		}
	}
	if closed && types.IsInterface(t) {
		d.line("\t// unexported methods")
	}
}

func (d *description) signature(t types.Type) string {
	return strings.TrimPrefix(d.typeText(t), "func")
}

func (d *description) typeText(t types.Type) string {
	return types.TypeString(t, func(pkg *types.Package) string {
		if pkg == d.pkg {
			return ""
		}
		d.imports[pkg.Path()] = true
		return pkg.Name()
	})
}

func (d *description) line(format string, args ...any) {
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}
