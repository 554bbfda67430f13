package ssegintest_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin/ssegintest"
)

// Two hundred clients with 20,000 events each, as the fault tests have them.
func BenchmarkStream_manyClients(b *testing.B) {
	const clients, events = 200, 20_000
	srv := ssegintest.NewServer(b, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for n := range events {
			fmt.Fprintf(w, "id: %d\ndata: {\"n\":%d,\"text\":\"some payload of usual size\"}\n\n", n, n)
		}
	}))
	b.ReportAllocs()
	for b.Loop() {
		var wg sync.WaitGroup
		for range clients {
			st, err := srv.Connect(b.Context(), "/")
			require.NoError(b, err)
			wg.Go(func() {
				defer st.Close()
				n := 0
				for _, err := range st.Events(b.Context()) {
					if err != nil {
						b.Error(err)
					}
					n++
				}
				if n != events {
					b.Errorf("%d events", n)
				}
			})
		}
		wg.Wait()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*clients*events), "ns/event")
}
