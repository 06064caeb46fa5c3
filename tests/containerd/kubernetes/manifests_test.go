package kubernetes

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	toml "github.com/pelletier/go-toml/v2"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// decode is what a document says, as the type of its kind. A field that the type has not is an error.
func decode(document string) (any, error) {
	var head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := yaml.Unmarshal([]byte(document), &head); err != nil {
		return nil, err
	}
	kinds := map[string]any{
		"v1 Namespace":      &corev1.Namespace{},
		"v1 ConfigMap":      &corev1.ConfigMap{},
		"v1 Service":        &corev1.Service{},
		"apps/v1 DaemonSet": &appsv1.DaemonSet{},
	}
	into, ok := kinds[head.APIVersion+" "+head.Kind]
	if !ok {
		return nil, fmt.Errorf("kind %q of %q is none of %v", head.Kind, head.APIVersion, slices.Sorted(maps.Keys(kinds)))
	}
	// As the API server decodes it: names are told apart by case, too.
	text, err := yaml.YAMLToJSONStrict([]byte(document))
	if err != nil {
		return nil, err
	}
	unknown, err := json.UnmarshalStrict(text, into)
	return into, errors.Join(append(unknown, err)...)
}

// objects are those of a file.
func objects(t *testing.T, path string) (all []any) {
	t.Helper()
	for _, document := range strings.Split(string(read(t, path)), "\n---\n") {
		one, err := decode(document)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all = append(all, one)
	}
	return all
}

// only is the one object of a type in a file.
func only[T any](t *testing.T, path string) T {
	t.Helper()
	var found []T
	for _, one := range objects(t, path) {
		if one, ok := one.(T); ok {
			found = append(found, one)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%s has %d of %T", path, len(found), *new(T))
	}
	return found[0]
}

func TestManifestsAreStrict(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(packaging, "kubernetes", "*.yaml"))
	if err != nil || len(paths) != 2 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		objects(t, filepath.Join("kubernetes", filepath.Base(path)))
	}
	// What is misspelled is found, at any depth.
	whole := string(read(t, "kubernetes/daemonset.yaml"))
	for from, to := range map[string]string{"hostPID:": "hostPid:", "failureThreshold: 3": "failureTreshold: 3", "mountPath: /config": "path: /config"} {
		found := false
		for _, document := range strings.Split(strings.Replace(whole, from, to, 1), "\n---\n") {
			_, err := decode(document)
			found = found || err != nil
		}
		if !found || !strings.Contains(whole, from) {
			t.Errorf("%s for %s is not noticed", to, from)
		}
	}
}

// What refers to something refers to what is there.
func TestDaemonSet(t *testing.T) {
	set := only[*appsv1.DaemonSet](t, "kubernetes/daemonset.yaml")
	settings := only[*corev1.ConfigMap](t, "kubernetes/daemonset.yaml")
	namespace := only[*corev1.Namespace](t, "kubernetes/daemonset.yaml")
	pod := set.Spec.Template
	for name, value := range set.Spec.Selector.MatchLabels {
		if pod.Labels[name] != value {
			t.Errorf("the pods lack the label %s=%s of the selector", name, value)
		}
	}
	if set.Namespace != namespace.Name || settings.Namespace != namespace.Name {
		t.Error("not all is in the one namespace")
	}
	used := map[string]bool{}
	for _, container := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		for _, mounted := range container.VolumeMounts {
			used[mounted.Name] = true
		}
		if privileged := container.SecurityContext.Privileged; (privileged != nil && *privileged) != (container.Name == "install") {
			t.Errorf("container %s: privileged is the installer alone", container.Name)
		}
	}
	for _, volume := range pod.Spec.Volumes {
		if !used[volume.Name] {
			t.Errorf("volume %s is mounted nowhere", volume.Name)
		}
		delete(used, volume.Name)
		if volume.ConfigMap != nil && volume.ConfigMap.Name != settings.Name {
			t.Errorf("there is no ConfigMap %s", volume.ConfigMap.Name)
		}
	}
	for name := range used {
		t.Errorf("there is no volume %s", name)
	}
	// It goes into the node's first process to start the service there.
	if !pod.Spec.HostPID {
		t.Error("the installer does not see the node's first process")
	}
}

// The ConfigMap has settings of the plugin, of the right types, and no others; metrics are where the
// DaemonSet and the Service say.
func TestSettings(t *testing.T) {
	text := only[*corev1.ConfigMap](t, "kubernetes/daemonset.yaml").Data["config.toml"]
	var given, known map[string]any
	if err := toml.Unmarshal([]byte(text), &given); err != nil {
		t.Fatal(err)
	}
	// A test of the plugin's own says that this file is whole.
	if err := toml.Unmarshal(read(t, "config.toml"), &known); err != nil {
		t.Fatal(err)
	}
	for name, value := range given {
		if want, ok := known[name]; !ok || fmt.Sprintf("%T", want) != fmt.Sprintf("%T", value) {
			t.Errorf("%s = %v: the plugin's own file has %v", name, value, want)
		}
	}
	set := only[*appsv1.DaemonSet](t, "kubernetes/daemonset.yaml")
	service := only[*corev1.Service](t, "kubernetes/metrics.yaml")
	port := set.Spec.Template.Spec.Containers[0].Ports[0]
	if want := fmt.Sprintf(":%d", port.ContainerPort); given["metrics_address"] != want || port.HostPort != port.ContainerPort {
		t.Errorf("metrics are at %v, and the pod says %s", given["metrics_address"], want)
	}
	if got := service.Spec.Ports[0]; got.TargetPort.StrVal != port.Name || got.Port != port.ContainerPort ||
		service.Annotations["prometheus.io/port"] != fmt.Sprint(port.ContainerPort) {
		t.Errorf("the service's port is %+v", got)
	}
	for name, value := range service.Spec.Selector {
		if set.Spec.Template.Labels[name] != value {
			t.Errorf("the pods lack the label %s=%s of the service", name, value)
		}
	}
	if service.Namespace != set.Namespace {
		t.Error("the service is in another namespace")
	}
}
