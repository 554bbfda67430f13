package main

import (
	"context"
	"encoding/json"
	"net/http"
)

// routes are the buttons of the page, which are the supervisor's business, and
// the balancer for all the rest.
func routes(ctx context.Context, ps *processes, nats *natsServer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /kill/{name}", func(w http.ResponseWriter, r *http.Request) {
		pid, err := ps.kill(r.PathValue("name"))
		answer(w, map[string]any{"pid": pid}, err)
	})
	mux.HandleFunc("POST /nats/stop", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"seconds": natsPause.Seconds()}, nats.pause(ctx))
	})
	mux.Handle("/", ps.balancer())
	return http.NewCrossOriginProtection().Handler(mux) // other pages press no buttons here
}

func answer(w http.ResponseWriter, value map[string]any, err error) {
	status := http.StatusOK
	if err != nil {
		status, value = http.StatusConflict, map[string]any{"error": err.Error()}
	}
	writeJSON(w, status, value)
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(value)
}
