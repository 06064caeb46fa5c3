package main

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/containerd/log"
	grpcprom "github.com/grpc-ecosystem/go-grpc-middleware/providers/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	ovl "github.com/libovl/libovl/bindings/go"
	"github.com/libovl/libovl/bindings/go/containerd/snapshotter"
)

// metrics are what Prometheus reads. Nothing in them reads the store: a scrape costs the same however
// many snapshots there are.
type metrics struct {
	registry *prometheus.Registry
	calls    *grpcprom.ServerMetrics
	server   *http.Server
}

func newMetrics(s *snapshotter.Snapshotter) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		calls: grpcprom.NewServerMetrics(grpcprom.WithServerHandlingTimeHistogram(
			grpcprom.WithHistogramBuckets([]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}))),
	}
	m.registry.MustRegister(
		m.calls,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "ovl_snapshotter_pending_removals",
			Help: "Layers of removed snapshots that are not deleted yet.",
		}, func() float64 { return float64(s.Pending()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name:        "ovl_snapshotter_info",
			Help:        "1, with the version of libovl.",
			ConstLabels: prometheus.Labels{"libovl": ovl.Version()},
		}, func() float64 { return 1 }),
	)
	return m
}

// serve serves /metrics at HOST:PORT or unix:PATH, and nothing at "".
func (m *metrics) serve(address string) error {
	if address == "" {
		return nil
	}
	var listener net.Listener
	var err error
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		listener, err = listenAt(strings.TrimPrefix(path, "//"))
	} else {
		listener, err = net.Listen("tcp", address)
	}
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	m.server = &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	go func() {
		if err := m.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.L.WithError(err).Error("metrics are served no more")
		}
	}()
	return nil
}

func (m *metrics) close() {
	if m.server != nil {
		m.server.Close()
	}
}
