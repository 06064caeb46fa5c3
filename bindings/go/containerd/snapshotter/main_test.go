package snapshotter_test

import (
	"os"
	"testing"

	"github.com/libovl/libovl/bindings/go/containerd/internal/scratch"
)

func TestMain(m *testing.M) { os.Exit(scratch.Run(m)) }
