package response

import (
	"context"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The version of Gin in go.mod has the fields that a context of one's own needs.
func TestLayout_isThatOfThisGin(t *testing.T) {
	assert.NotNil(t, layout)
	assert.Nil(t, layoutOf(reflect.TypeFor[struct{ engine *gin.Engine }]()), "a field is missing")
	assert.Nil(t, layoutOf(reflect.TypeFor[struct {
		engine   *gin.Engine
		handlers gin.HandlersChain
		index    int
		fullPath string
		sameSite http.SameSite
	}]()), "a field has another type")
}

// With another Gin, handlers run in the context of the request, and find in it what they
// would without us.
func TestNext_doesWithoutAContextOfItsOwn(t *testing.T) {
	type mark struct{}
	for name, own := range map[string]*offsets{"its own": layout, "none": nil} {
		t.Run(name, func(t *testing.T) {
			before := layout
			layout = own
			defer func() { layout = before }()
			r := gin.New()
			var outside, within *gin.Context
			r.GET("/", func(c *gin.Context) {
				outside = c
				request, writer := c.Request, c.Writer
				w := New(c, nobody{}, Options{})
				w.Next(context.WithValue(c.Request.Context(), mark{}, 1))
				assert.True(t, w.Close())
				assert.Same(t, request, c.Request)
				assert.Equal(t, writer, c.Writer)
				assert.Equal(t, 2, c.GetInt("within"))
			}, func(c *gin.Context) {
				within = c
				assert.Equal(t, 1, c.Request.Context().Value(mark{}))
				require.NotNil(t, Of(c))
				c.Set("within", 2)
				c.JSON(http.StatusTeapot, "tea")
			})
			rec := httptest.NewRecorder()
			r.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
			assert.Equal(t, http.StatusTeapot, rec.Code)
			assert.Equal(t, `"tea"`, rec.Body.String())
			assert.Equal(t, own == nil, outside == within)
		})
	}
}

// nobody owns a response that nobody streams.
type nobody struct{}

func (nobody) Context() context.Context      { return context.Background() }
func (nobody) Over() error                   { return nil }
func (nobody) End(error)                     {}
func (nobody) Finish(error)                  {}
func (nobody) Silent() bool                  { return false }
func (nobody) Report(string, string, ...any) {}
