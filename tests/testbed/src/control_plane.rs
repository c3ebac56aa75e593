//! etcd, kube-apiserver, kube-controller-manager and kube-scheduler in a machine of their own.
//!
//! The controller-manager starts only when the API server is ready: earlier it exits, because its roles do not exist yet.
//! The machine hangs on the world's router; without a router (the apiserver tier) its address is on `lo`.

mod flags;
mod get;

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use serde_json::Value;

use self::get::Get;
use crate::{
    api_proxy::ApiProxy,
    namespace::Namespace,
    node::create,
    pki::{Authority, Subject},
    process::{Output, Process, run},
    programs::Kubernetes,
    wait::{Pending, wait_patiently},
    world::World,
};

/// The heap grows to five times what lives before Go looks for garbage (its default is twice): memory is plenty on machines that test, processors are
/// not, and looking for garbage was a sixth of what kube-apiserver and kubectl used of them.
const GARBAGE_PERCENT: &str = "400";

/// The control plane's address.
pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 50, 0, 2);

/// The router's address on the link to the control plane.
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 50, 0, 1);

/// Addresses of Services, of which the first is the API server's.
pub const SERVICE_CIDR: &str = "10.96.0.0/16";
const API_SERVICE: &str = "10.96.0.1";

/// Three to four seconds on an idle machine.
const READY_DEADLINE: Duration = Duration::from_secs(120);

/// Time for leases and connections to be closed; the controllers have nothing to lose.
const STOP_DEADLINE: Duration = Duration::from_secs(30);

/// A process of the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    /// The store.
    Etcd,
    /// The API server.
    ApiServer,
    /// Kubernetes' own controllers.
    Controllers,
    /// The scheduler.
    Scheduler,
}

impl Component {
    /// All, in the order in which they start.
    pub const ALL: [Self; 4] = [
        Self::Etcd,
        Self::ApiServer,
        Self::Controllers,
        Self::Scheduler,
    ];

    /// The program's name, also that of its log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::Controllers => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
        }
    }
}

/// A running control plane.
#[derive(Debug)]
pub struct ControlPlane {
    processes: BTreeMap<Component, Process>,
    machine: Arc<Namespace>,
    authority: Authority,
    kubernetes: Kubernetes,
    folder: PathBuf,
    /// Answers what is only looked at; started when it is first needed.
    looks: OnceLock<Option<ApiProxy>>,
    /// Which of Kubernetes' own controllers run; all of them where nothing is said.
    only_controllers: Vec<&'static str>,
    /// Whether Kubernetes' own node lifecycle, and the deletes that follow from it, are left out.
    without_lifecycle: bool,
}

impl ControlPlane {
    /// Makes machine and certificates, and starts etcd and the API server without waiting for them.
    pub(crate) fn start(world: &mut World, kubernetes: &Kubernetes) -> Result<Self> {
        let folder = world.dir().join("control-plane");
        let machine = world.add_machine("control-plane")?;
        match world.router() {
            Some(router) => join(&machine, router)?,
            None => machine.ip_batch(&format!("addr add {ADDRESS}/32 dev lo"))?,
        }
        let authority = Authority::create(&folder.join("pki"))?;
        create(&folder.join("etcd"))?;
        let mut control_plane = Self {
            processes: BTreeMap::new(),
            machine,
            authority,
            kubernetes: kubernetes.clone(),
            folder,
            looks: OnceLock::new(),
            only_controllers: Vec::new(),
            without_lifecycle: false,
        };
        control_plane.issue()?;
        control_plane.start_component(Component::Etcd)?;
        control_plane.start_component(Component::ApiServer)?;
        Ok(control_plane)
    }

    /// Waits until the API server is ready.
    ///
    /// # Errors
    /// It has ended, or is not ready within the deadline; with the end of its log.
    pub fn wait_ready(&mut self) -> Result<()> {
        let waited = wait_patiently("the API server being ready", READY_DEADLINE, || {
            for component in [Component::Etcd, Component::ApiServer] {
                if !self.is_running(component) {
                    return Ok(Some(component));
                }
            }
            match self.is_ready() {
                Ok(()) => Ok(None),
                Err(error) => Err(Pending::because(format!("{error:#}"))),
            }
        });
        let log = |component: Component| {
            let log = self.processes.get(&component).map(Process::log_tail);
            log.unwrap_or_default()
        };
        match waited {
            Ok(None) => Ok(()),
            Ok(Some(ended)) => bail!("{} has ended; its log says:\n{}", ended.name(), log(ended)),
            Err(error) => {
                let log = log(Component::ApiServer);
                Err(error.context(format!("its log says:\n{log}")))
            }
        }
    }

    /// Starts what needs a ready API server.
    pub(crate) fn start_controllers(&mut self) -> Result<()> {
        self.start_component(Component::Controllers)?;
        self.start_component(Component::Scheduler)
    }

    /// Starts these of Kubernetes' own controllers and no others, such as `endpointslice-controller`. No node is needed for them.
    ///
    /// # Errors
    /// It could not be started.
    pub fn start_only_controllers(&mut self, names: &[&'static str]) -> Result<()> {
        self.only_controllers = names.to_vec();
        self.start_component(Component::Controllers)
    }

    /// From the next start of its controllers on: all of Kubernetes' own but those of node lifecycle (Unknown conditions, taints, deletes).
    pub fn leave_out_lifecycle(&mut self) {
        self.without_lifecycle = true;
    }

    /// Whether Kubernetes' own node lifecycle runs, or will.
    pub(crate) fn has_lifecycle(&self) -> bool {
        !self.without_lifecycle
    }

    /// Its machine.
    pub fn machine(&self) -> &Namespace {
        &self.machine
    }

    /// The kubeconfig of the cluster's administrator, valid inside the world.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("pki/admin.kubeconfig")
    }

    /// Where the API server is, inside the world.
    pub fn server() -> String {
        format!("https://{ADDRESS}:6443")
    }

    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }

    pub(crate) fn kubernetes(&self) -> &Kubernetes {
        &self.kubernetes
    }

    /// Runs kubectl as administrator to its end.
    ///
    /// # Errors
    /// It could not be started. How it ended is in the output.
    pub fn kubectl(&self, args: &[&str]) -> Result<Output> {
        self.kubectl_with(args, "")
    }

    /// Like [`Self::kubectl`], with an input.
    ///
    /// # Errors
    /// It could not be started. How it ended is in the output.
    pub fn kubectl_with(&self, args: &[&str], input: &str) -> Result<Output> {
        let mut command = self.command("kubectl");
        command
            .arg("--kubeconfig")
            .arg(self.kubeconfig())
            .args(args)
            .env("KUBECACHEDIR", self.folder.join("kubectl-cache"));
        run(command, input.as_bytes())
    }

    /// A run of kubectl that is yet to be started, as whoever this kubeconfig says.
    pub fn kubectl_command(&self, kubeconfig: &Path) -> Command {
        let mut command = self.command("kubectl");
        command.arg("--kubeconfig").arg(kubeconfig);
        command
    }

    /// What `kubectl … --output json` says. A plain `get` is asked without kubectl, and its lists are of their own kind.
    ///
    /// # Errors
    /// It failed, or did not answer JSON.
    pub fn kubectl_json(&self, args: &[&str]) -> Result<Value> {
        if let Some(get) = Get::parse(args)
            && let Some(proxy) = self.looks()
        {
            return get.ask(proxy);
        }
        let words: Vec<&str> = args.iter().copied().chain(["--output", "json"]).collect();
        let said = self.kubectl(&words)?.ok()?;
        serde_json::from_str(&said).with_context(|| format!("no JSON: {said}"))
    }

    fn is_ready(&self) -> Result<()> {
        if let Some(proxy) = self.looks() {
            return proxy.text("/readyz").map(|_| ());
        }
        let output = self.kubectl(&["get", "--raw", "/readyz"])?;
        output.ok().map(|_| ())
    }

    /// The proxy of those who only look, while it runs.
    fn looks(&self) -> Option<&ApiProxy> {
        let started = self.looks.get_or_init(|| self.proxy_at("looks.sock").ok());
        started.as_ref().filter(|proxy| proxy.is_there())
    }

    /// Creates or changes objects, in YAML or JSON.
    ///
    /// # Errors
    /// The API server refused one; with its words.
    pub fn apply(&self, manifest: &str) -> Result<()> {
        self.kubectl_with(&["apply", "--filename", "-"], manifest)?
            .ok()
            .map(|_| ())
    }

    /// Whether a process of it runs.
    pub fn is_running(&mut self, component: Component) -> bool {
        let process = self.processes.get_mut(&component);
        process.is_some_and(Process::is_running)
    }

    /// The processes that run, by name.
    pub fn running(&mut self) -> Vec<&'static str> {
        let all = Component::ALL.into_iter();
        all.filter(|component| self.is_running(*component))
            .map(Component::name)
            .collect()
    }

    /// Kills a process without warning; it stays away until [`Self::start_component`].
    ///
    /// # Errors
    /// It did not go.
    pub fn kill(&mut self, component: Component) -> Result<()> {
        match self.processes.get_mut(&component) {
            Some(process) => process.kill(),
            None => Ok(()),
        }
    }

    /// Ends a process in an orderly way; it stays away until [`Self::start_component`].
    ///
    /// # Errors
    /// It did not go.
    pub fn stop(&mut self, component: Component) -> Result<()> {
        match self.processes.get_mut(&component) {
            Some(process) => process.terminate(STOP_DEADLINE).map(|_| ()),
            None => Ok(()),
        }
    }

    /// Freezes or thaws a process: it holds its connections and says nothing.
    ///
    /// # Errors
    /// It does not run.
    pub fn freeze(&mut self, component: Component, frozen: bool) -> Result<()> {
        let signal = if frozen {
            Signal::SIGSTOP
        } else {
            Signal::SIGCONT
        };
        let process = self.processes.get_mut(&component);
        process
            .with_context(|| format!("{} was never started", component.name()))?
            .signal(signal)
    }

    /// Starts a process that is not running.
    ///
    /// # Errors
    /// It could not be started.
    pub fn start_component(&mut self, component: Component) -> Result<()> {
        if self.is_running(component) {
            return Ok(());
        }
        let name = component.name();
        let mut command = self.command(name);
        command.args(self.flags(component));
        let process = self.machine.spawn_command(name, command)?;
        self.processes.insert(component, process);
        Ok(())
    }

    /// One of Kubernetes' programs, with fewer collections of garbage.
    fn command(&self, name: &str) -> Command {
        let mut command = self.machine.command(self.kubernetes.program(name));
        command.env("GOGC", GARBAGE_PERCENT);
        command
    }

    fn issue(&self) -> Result<()> {
        let server = Self::server();
        let names = [ADDRESS.to_string(), API_SERVICE.to_owned()]
            .into_iter()
            .chain(["kubernetes", "kubernetes.default.svc"].map(str::to_owned))
            .collect::<Vec<_>>();
        self.authority
            .issue(&client("apiserver", "kube-apiserver", None, &names))?;
        self.authority.issue(&client(
            "kubelet-client",
            "kube-apiserver-kubelet-client",
            Some("system:masters"),
            &[],
        ))?;
        self.authority.make_pair("service-accounts")?;
        for (file, user, group) in [
            ("admin", "admin", Some("system:masters")),
            ("controllers", "system:kube-controller-manager", None),
            ("scheduler", "system:kube-scheduler", None),
        ] {
            self.authority
                .kubeconfig(&client(file, user, group, &[]), &server)?;
        }
        Ok(())
    }
}

pub(crate) fn client<'a>(
    file: &'a str,
    common_name: &'a str,
    organization: Option<&'a str>,
    names: &'a [String],
) -> Subject<'a> {
    Subject {
        file,
        common_name,
        organization,
        names,
    }
}

fn join(machine: &Namespace, router: &Namespace) -> Result<()> {
    router.ip_batch(&format!(
        "link add control type veth peer name eth0 netns {}\nlink set control up\naddr add {ROUTER}/24 dev control",
        machine.pid()
    ))?;
    machine.ip_batch(&format!(
        "link set eth0 up\naddr add {ADDRESS}/24 dev eth0\nroute add default via {ROUTER}"
    ))
}
