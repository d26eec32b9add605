package docker

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"

	"kwokctl/runtimes"
)

const (
	stopGrace      = 20          // seconds between SIGTERM and SIGKILL
	pidLimit       = int64(4096) // threads count too
	fileLimit      = 16384       // open files and connections; engines differ in their defaults, some ask for too many
	taskLimit      = 16384       // of all components of all clusters, since they run as one user; likewise
	logSize        = "10m"
	logFiles       = "5"
	healthEvery    = time.Minute
	looksForSubnet = 10 // of podman, at the interfaces of a host where containers come and go
	// stepTime is how long one step of making things may go on after the user has interrupted it: a request that is
	// cut off may still be carried out, behind the back of whoever removes what was made.
	stepTime = 30 * time.Second
)

// Install implements runtimes.Runtime: it makes image, network, volumes and containers, as far as they are missing.
func (r *Runtime) Install(ctx context.Context, specs []runtimes.Spec) error {
	e, err := r.openOrChoose(ctx)
	if err != nil {
		return err
	}
	defer e.Close()
	return ended(ctx, r.install(ctx, e, specs))
}

func (r *Runtime) install(ctx context.Context, e *engine, specs []runtimes.Spec) error {
	info, err := r.about(ctx, e)
	if err != nil {
		return err
	}
	network := make(chan error, 1)
	go func() { network <- r.ensureNetwork(ctx, e) }()
	image, err := r.ensureImage(ctx, e, info)
	if made := <-network; err == nil {
		err = made
	}
	if err != nil {
		return err
	}
	others, err := r.foreigns(ctx, e, specs)
	if err != nil {
		return err
	}
	if err := r.ensureVolumes(ctx, e, specs, image); err != nil {
		return err
	}
	have, err := r.containers(ctx, e)
	if err != nil {
		return err
	}
	if err := r.address(ctx, e, specs, have); err != nil {
		return err
	}
	ensure := func(s runtimes.Spec) error {
		return r.ensureContainer(ctx, e, r.describe(e, s, specs, image, others, info), have[s.Name])
	}
	if len(have) > 0 || len(specs) == 0 {
		return each(specs, ensure)
	}
	// With the first container of a cluster, the engine copies what the image has into the volume that all share; several
	// at once get in each other's way.
	if err := ensure(specs[0]); err != nil {
		return err
	}
	return each(specs[1:], ensure)
}

// each calls f for all specs at once. Of their errors, which are mostly the same, it returns the first.
func each(specs []runtimes.Spec, f func(runtimes.Spec) error) error {
	errs := make([]error, len(specs))
	var wg sync.WaitGroup
	for i, s := range specs {
		wg.Go(func() { errs[i] = f(s) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// step returns a context for one request that makes something, or the reason why nothing more is to be made.
func step(ctx context.Context) (context.Context, context.CancelFunc, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	one, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepTime)
	return one, cancel, nil
}

func (r *Runtime) ensureNetwork(ctx context.Context, e *engine) error {
	list, err := e.NetworkList(ctx, client.NetworkListOptions{Filters: client.Filters{}.Add("name", r.project())})
	if err != nil {
		return wrap("list networks", err)
	}
	for _, n := range list.Items { // the filter takes parts of names too, and names need not be unique
		if n.Name == r.project() && n.Labels[idLabel] == e.ID {
			return nil
		}
		if n.Name == r.project() {
			return fmt.Errorf("create network: %w", taken("network", n.Name))
		}
	}
	one, cancel, err := step(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	return wrap("create network "+r.project(), e.makeNetwork(one, r.project(), r.labels(e, "")))
}

// makeNetwork makes a network. Podman asks each of the host's interfaces for its addresses, to find a subnet that is
// free, and fails if one of them went away between its two looks, as that of a container which ends does.
func (e *engine) makeNetwork(ctx context.Context, name string, labels map[string]string) error {
	var err error
	for range looksForSubnet {
		_, err = e.NetworkCreate(ctx, name, client.NetworkCreateOptions{Driver: "bridge", Labels: labels})
		if err == nil || !strings.Contains(err.Error(), "no such network interface") {
			break
		}
	}
	return err
}

// address gives the components fixed addresses on podman, so that they need not ask its name server: that loses
// questions, or says that there is no such name, while it learns of any other container, and may end altogether.
// Docker's is sound, and Docker fixes no address on a network that it chose itself.
func (r *Runtime) address(ctx context.Context, e *engine, specs []runtimes.Spec, have map[string]container.Summary) error {
	if e.Engine != Podman || len(e.Addresses) == 0 && anyRuns(have) { // without, as an earlier version started them
		return nil
	}
	whole, err := e.NetworkInspect(ctx, r.project(), client.NetworkInspectOptions{})
	if err != nil {
		return wrap("inspect network "+r.project(), err)
	}
	before := e.Addresses
	e.Addresses = nil
	for _, c := range whole.Network.IPAM.Config {
		if e.Addresses == nil {
			e.Addresses = fixed(c.Subnet, specs, before)
		}
	}
	if maps.Equal(e.Addresses, before) {
		return nil
	}
	return r.save(e.state)
}

// fixed returns an address by component: that of before, else any from the second half of a subnet, since engines give
// out those at its start. It returns nil for a subnet that is not one of IPv4 with room for twice as many.
func fixed(subnet netip.Prefix, specs []runtimes.Spec, before map[string]netip.Addr) map[string]netip.Addr {
	half := 1 << 31 >> subnet.Bits()
	if !subnet.Addr().Is4() || half < 2*(len(specs)+len(before)) {
		return nil
	}
	by := map[string]netip.Addr{}
	taken := map[netip.Addr]bool{}
	for name, at := range before {
		if subnet.Contains(at) {
			by[name], taken[at] = at, true
		}
	}
	first := subnet.Masked().Addr().As4()
	for _, s := range specs {
		for !by[s.Name].IsValid() {
			var one [4]byte
			binary.BigEndian.PutUint32(one[:], binary.BigEndian.Uint32(first[:])+uint32(half+rand.IntN(half-1))) // the last is that of all
			if at := netip.AddrFrom4(one); !taken[at] {
				by[s.Name], taken[at] = at, true
			}
		}
	}
	return by
}

// fileVolume holds the files of the cluster directory, and the sockets.
func (r *Runtime) fileVolume() string { return r.project() }

// dataVolume holds the data of one component.
func (r *Runtime) dataVolume(s runtimes.Spec, number int) string {
	name := r.container(s.Name) + "-data"
	if number > 0 {
		name = fmt.Sprintf("%s-%d", name, number)
	}
	return name
}

func (r *Runtime) ensureVolumes(ctx context.Context, e *engine, specs []runtimes.Spec, image string) error {
	of := map[string]string{r.fileVolume(): ""} // component by name of volume
	all := []mount.Mount{{Type: mount.TypeVolume, Source: r.fileVolume(), Target: WorkDir}}
	others := false
	for _, s := range specs {
		others = others || s.Image != ""
		if s.Data != "" {
			of[r.dataVolume(s, e.Volumes)] = s.Name
			all = append(all, mount.Mount{Type: mount.TypeVolume, Source: r.dataVolume(s, e.Volumes), Target: path.Join(WorkDir, s.Data)})
		}
	}
	list, err := e.VolumeList(ctx, client.VolumeListOptions{Filters: e.ours()})
	if err != nil {
		return wrap("list volumes", err)
	}
	for _, v := range list.Items {
		delete(of, v.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(of)) {
		if of[name] != "" && e.Made { // to begin with no data would look as if they had been deleted
			return fmt.Errorf("volume %s, with the data of %s, is gone; kwokctl snapshot restore --name %s --path FILE replaces them", name, of[name], r.Name)
		}
		one, cancel, err := step(ctx)
		if err != nil {
			return err
		}
		made, err := e.VolumeCreate(one, client.VolumeCreateOptions{Name: name, Labels: r.labels(e, of[name])})
		cancel()
		if err != nil && !isConflict(err) {
			return wrap("create volume "+name, err)
		}
		if err != nil || made.Volume.Labels[idLabel] != e.ID { // engines return one that is there already
			return fmt.Errorf("create volume: %w", taken("volume", name))
		}
	}
	if e.Made {
		return nil
	}
	if others { // which volumes could take for what is in their images
		if err := r.carrier(ctx, e, image, all, func(string) error { return nil }); err != nil {
			return err
		}
	}
	e.Made = true
	return r.save(e.state)
}

// containers returns those of the cluster, by component.
func (r *Runtime) containers(ctx context.Context, e *engine) (map[string]container.Summary, error) {
	list, err := e.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: e.ours()})
	if err != nil {
		return nil, wrap("list containers", err)
	}
	by := map[string]container.Summary{}
	for _, c := range list.Items {
		by[c.Labels[componentLabel]] = c
	}
	return by, nil
}

// ensureContainer makes a container, in place of one that was made from something else. One that runs is left alone.
func (r *Runtime) ensureContainer(ctx context.Context, e *engine, want client.ContainerCreateOptions, have container.Summary) error {
	if have.ID != "" {
		if have.Labels[specLabel] == want.Config.Labels[specLabel] || have.State == container.StateRunning {
			return nil
		}
		if err := e.discard(ctx, have.ID); err != nil && !missing(err) {
			return wrap("replace container "+want.Name, err)
		}
	}
	one, cancel, err := step(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	_, err = e.ContainerCreate(one, want)
	if err != nil && (isConflict(err) || strings.Contains(err.Error(), "already in use")) { // podman has another status for it
		return fmt.Errorf("create container: %w", taken("container", want.Name))
	}
	return wrap("create container "+want.Name, err)
}

// describe says everything about the container of a component. It is pure.
func (r *Runtime) describe(e *engine, s runtimes.Spec, all []runtimes.Spec, image string, others foreign, info system.Info) client.ContainerCreateOptions {
	ports, published := r.ports(e, s)
	mounts := []mount.Mount{{Type: mount.TypeVolume, Source: r.fileVolume(), Target: WorkDir}}
	if s.Data != "" {
		mounts = append(mounts, mount.Mount{Type: mount.TypeVolume, Source: r.dataVolume(s, e.Volumes), Target: path.Join(WorkDir, s.Data)})
	}
	grace := stopGrace
	config := &container.Config{
		Image: image, User: fmt.Sprintf("%d:%d", user, user), WorkingDir: WorkDir,
		Entrypoint: others.entrypoint(s), Cmd: s.Args,
		Env:          append(slices.Clone(s.Env), "HOME="+WorkDir),
		ExposedPorts: ports, StopTimeout: &grace, StopSignal: "SIGTERM",
	}
	host := &container.HostConfig{
		NetworkMode: container.NetworkMode(r.project()), PortBindings: published, Mounts: mounts,
		RestartPolicy:  container.RestartPolicy{Name: container.RestartPolicyUnlessStopped},
		LogConfig:      container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": logSize, "max-file": logFiles}},
		Resources:      limits(e, info),
		ReadonlyRootfs: true, CapDrop: []string{"ALL"}, SecurityOpt: []string{"no-new-privileges"},
	}
	for _, name := range slices.Sorted(maps.Keys(e.Addresses)) {
		host.ExtraHosts = append(host.ExtraHosts, name+":"+e.Addresses[name].String())
	}
	if e.Engine == Podman {
		delete(host.LogConfig.Config, "max-file") // it keeps one
	}
	for _, m := range s.Mounts {
		if m.Create { // for which the newer form has no word that all engines know
			mode := ":rw"
			if m.ReadOnly {
				mode = ":ro"
			}
			host.Binds = append(host.Binds, m.Host+":"+m.Inside+mode)
			continue
		}
		host.Mounts = append(host.Mounts, mount.Mount{Type: mount.TypeBind, Source: m.Host, Target: m.Inside, ReadOnly: m.ReadOnly})
	}
	if s.Image == "" {
		config.Env = append(config.Env, runtimes.GateEnv+"="+gate(s, all))
		config.Healthcheck = &container.HealthConfig{
			Test:     []string{"CMD", "/bin/" + ProbeApplet, "health", encode([]question{{s.Name, s.Probe}})},
			Interval: healthEvery, Timeout: 10 * time.Second, StartPeriod: healthEvery, Retries: 2,
		}
	} else {
		config.Image, config.User, config.WorkingDir = s.Image, cmp.Or(s.User, config.User), cmp.Or(s.WorkDir, WorkDir)
		host.Tmpfs = map[string]string{"/tmp": "rw,noexec,nosuid,size=64m"} // which others may take for granted
	}
	in := &network.EndpointSettings{Aliases: []string{s.Name}}
	if at, ok := e.Addresses[s.Name]; ok {
		in.IPAMConfig = &network.EndpointIPAMConfig{IPv4Address: at}
	}
	o := client.ContainerCreateOptions{
		Name: r.container(s.Name), Config: config, HostConfig: host,
		NetworkingConfig: &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{r.project(): in}},
	}
	sum := sha256.Sum256([]byte(encode(o)))
	config.Labels = r.labels(e, s.Name)
	config.Labels[specLabel] = hex.EncodeToString(sum[:8])
	return o
}

// limits are those of any container of ours.
func limits(e *engine, info system.Info) container.Resources {
	l := container.Resources{Ulimits: []*container.Ulimit{{Name: "nofile", Soft: fileLimit, Hard: fileLimit}}}
	if e.Engine == Podman {
		l.Ulimits = append(l.Ulimits, &container.Ulimit{Name: "nproc", Soft: taskLimit, Hard: taskLimit})
	}
	if info.PidsLimit {
		limit := pidLimit
		l.PidsLimit = &limit
	}
	if info.MemoryLimit { // no component may take the machine down with it
		l.Memory = info.MemTotal / 2
	}
	return l
}

// gate lists the probes of what a component needs.
func gate(s runtimes.Spec, all []runtimes.Spec) string {
	needs := []runtimes.Probe{}
	for _, n := range all {
		if slices.Contains(s.Needs, n.Name) {
			needs = append(needs, n.Probe)
		}
	}
	return encode(needs)
}

func encode(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // our own plain types
	}
	return string(data)
}
