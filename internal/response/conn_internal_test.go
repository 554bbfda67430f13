package response

import (
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
)

// A collecting writer cannot flush, as that of http.TimeoutHandler: its connection may
// serve another request before what it has is written.
type collecting struct{ http.ResponseWriter }

func TestDeadlines_areThoseOfTheConnectionWhereThatIsTheRequestsAlone(t *testing.T) {
	conn, other := net.Pipe()
	defer conn.Close()
	defer other.Close()
	recorder := httptest.NewRecorder()
	for _, test := range []struct {
		name  string
		w     http.ResponseWriter
		major int
		want  deadliner
	}{
		{"a writer that hides the server's", recorder, 1, conn},
		{"HTTP/2", recorder, 2, nil},
		{"a writer that cannot flush", collecting{recorder}, 1, nil},
	} {
		r := httptest.NewRequestWithContext(WithConn(t.Context(), conn), http.MethodGet, "/", nil)
		r.ProtoMajor = test.major
		assert.Equal(t, test.want, deadlines(r, test.w), test.name)
	}
	assert.Nil(t, deadlines(httptest.NewRequest(http.MethodGet, "/", nil), recorder), "no ConnContext")
}
