package response

import (
	"context"
	"net/http"
	"reflect"
	"slices"
	"unsafe"

	"github.com/gin-gonic/gin"
)

// Gin gives a gin.Context to the next request as soon as its handlers have returned. A
// goroutine that was not stopped and goes on to render into the context, with
// c.SSEvent for one, then writes into the response of somebody else. A Writer that is
// kept is harmless, but such a goroutine asks the context for its writer each time. So
// the handlers within a layer are given a context that no other request ever gets.

// Next runs the handlers that come after this layer, with ctx as that of the request.
func (w *Writer) Next(ctx context.Context) {
	c := w.outside
	inner := apart(c, w)
	if inner == nil {
		defer func(request *http.Request, outer any, enclosed bool) {
			if c.Request = request; enclosed {
				c.Set(key, outer)
			}
		}(c.Request, c.Value(key), w.outer != nil)
		inner = c
	}
	w.mu.Lock()
	w.context, w.apart = inner, inner != c
	w.mu.Unlock()
	inner.Writer = w
	inner.Request = c.Request.WithContext(ctx)
	inner.Set(key, w)
	defer func() {
		if inner != c {
			w.rejoin(c, inner)
		}
	}()
	inner.Next()
}

// rejoin lets the handlers around this layer see what those within have done.
func (w *Writer) rejoin(c, inner *gin.Context) {
	c.Errors, c.Accepted = slices.Clone(inner.Errors), inner.Accepted
	c.Params = append(c.Params[:0], inner.Params...)
	if from, to := inner.Request, c.Request; to.MultipartForm == nil && from != nil {
		to.Form, to.PostForm, to.MultipartForm = from.Form, from.PostForm, from.MultipartForm // whose files the server removes
	}
	if c.Keys = inner.Copy().Keys; w.outer != nil { // a copy is made under the lock of the values
		c.Set(key, w.outer)
	}
	*field[int8](c, layout.index) = *field[int8](inner, layout.index) // these handlers have run
}

// apart returns a context for the handlers that are still to run, nil if this version of
// Gin does not have what that needs.
func apart(c *gin.Context, w *Writer) *gin.Context {
	if layout == nil {
		return nil
	}
	inner := gin.CreateTestContextOnly(w, *field[*gin.Engine](c, layout.engine))
	shared := c.Copy()
	inner.Keys, inner.Params = shared.Keys, shared.Params
	inner.Errors, inner.Accepted = slices.Clone(c.Errors), c.Accepted
	*field[gin.HandlersChain](inner, layout.handlers) = *field[gin.HandlersChain](c, layout.handlers)
	*field[int8](inner, layout.index) = *field[int8](c, layout.index)
	*field[string](inner, layout.fullPath) = *field[string](c, layout.fullPath)
	*field[http.SameSite](inner, layout.sameSite) = *field[http.SameSite](c, layout.sameSite)
	return inner
}

// layout says where gin.Context has what is not exported. It is nil for a version of Gin
// that has other fields; then handlers run in the context of the request.
var layout = layoutOf(reflect.TypeFor[gin.Context]())

type offsets struct{ engine, handlers, index, fullPath, sameSite uintptr }

func layoutOf(context reflect.Type) *offsets {
	l := &offsets{}
	for _, f := range []struct {
		name   string
		kind   reflect.Type
		offset *uintptr
	}{
		{"engine", reflect.TypeFor[*gin.Engine](), &l.engine},
		{"handlers", reflect.TypeFor[gin.HandlersChain](), &l.handlers},
		{"index", reflect.TypeFor[int8](), &l.index},
		{"fullPath", reflect.TypeFor[string](), &l.fullPath},
		{"sameSite", reflect.TypeFor[http.SameSite](), &l.sameSite},
	} {
		field, ok := context.FieldByName(f.name)
		if !ok || field.Type != f.kind {
			return nil
		}
		*f.offset = field.Offset
	}
	return l
}

// field returns a field of a context, which has the type T, as layoutOf has made sure.
func field[T any](c *gin.Context, offset uintptr) *T {
	return (*T)(unsafe.Add(unsafe.Pointer(c), offset))
}
