using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using KeyVa.Cluster.Driver;
using KeyVa.Cluster.Transport;
using KeyVa.Io;
using KeyVa.Partitions;
using KeyVa.Raft;

namespace KeyVa.Cluster;

/// <summary>
/// A node of a cluster: a store whose partitions are replicated, and what makes them so. Writes to the store may be made on any node; they are
/// done by the partition's leader, and answered from this node's own copy. Thread-safe.
/// </summary>
public sealed class ClusterNode : IAsyncDisposable
{
    private static readonly TimeSpan PollInterval = TimeSpan.FromMilliseconds(20);

    private readonly ClusterOptions _options;
    private readonly ClusterDriver _driver;
    private readonly DriverThread _thread;
    private readonly ITransport _transport;
    private readonly TimeProvider _time;
    private readonly Lock _gate = new();
    private readonly Dictionary<ulong, PeerAddress> _peers = [];

    // By partition: when the question was asked whose answer was the last to come, by this node's clock.
    private readonly Dictionary<long, long> _confirmedAt = [];
    private int _stopped;

    private ClusterNode(ClusterOptions options, ClusterDriver driver, DriverThread thread, ITransport transport, Store store, TimeProvider time)
    {
        _options = options;
        _driver = driver;
        _thread = thread;
        _transport = transport;
        _time = time;
        Store = store;
    }

    /// <summary>The store. What is read from it directly is this node's copy, which may be behind: see <see cref="ConfirmReadsAsync"/>.</summary>
    public Store Store { get; }

    /// <summary>The node's number.</summary>
    public long Id => _options.Node;

    /// <summary>The cluster's name.</summary>
    public string ClusterName => _options.Name;

    /// <summary>Opens a node with a transport of the caller's choice, which it owns from here on.</summary>
    internal static ClusterNode Open(string path, StoreOptions store, ClusterOptions options, ITransport transport, StoreEnvironment? environment = null)
    {
        Check(options);
        environment ??= new StoreEnvironment();
        string directory = Path.GetFullPath(path);
        bool isNew = Identify(environment.FileSystem, directory, options);
        var thread = new DriverThread();
        var driver = new ClusterDriver(ToDriver(options), transport, DriverThread.Clock, thread.Signal);
        Store? opened = null;
        try
        {
            opened = Store.Open(directory, store, environment with { Replication = driver });
            if (isNew)
            {
                ClusterFile.Write(environment.FileSystem, directory, options.Node, options.Name);
            }

            var node = new ClusterNode(options, driver, thread, transport, opened, environment.Time);
            node.Start();
            return node;
        }
        catch
        {
            driver.BeginStop();
            thread.Start(driver.Run, driver.Stop);
            opened?.DisposeAsync().AsTask().GetAwaiter().GetResult();
            thread.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Waits until everything that was acknowledged anywhere before the call is in this node's copy; then reads of the store are linearizable.
    /// <see cref="Status.Unavailable"/>: no leader could be reached in time.
    /// </summary>
    /// <param name="maxStaleness">
    /// Null: as said. Else what was acknowledged so long before the call may be missing, and the call returns at once where that is known to be fulfilled.
    /// </param>
    /// <param name="cancellation">Ends the wait.</param>
    public async ValueTask<Status> ConfirmReadsAsync(TimeSpan? maxStaleness = null, CancellationToken cancellation = default)
    {
        foreach (long partition in _driver.Replicas.Keys)
        {
            Status status = await ConfirmAsync(partition, maxStaleness, cancellation).ConfigureAwait(false);
            if (status != Status.Ok)
            {
                return status;
            }
        }

        return Status.Ok;
    }

    /// <summary>How this node sees its partitions.</summary>
    public async Task<IReadOnlyList<ReplicaStatus>> GetStatusAsync()
    {
        var replicas = new List<ReplicaStatus>();
        foreach (long partition in _driver.Replicas.Keys.Order())
        {
            replicas.Add(await AskAsync(partition, Describe).ConfigureAwait(false));
        }

        return replicas;
    }

    /// <summary>
    /// Adds a node: as a learner first, and as a voter once it has what the others have. Asked of the leader; the node must be running, and must have been
    /// started so that it joins.
    /// </summary>
    public async Task<ClusterChange> AddNodeAsync(long node, DnsEndPoint address, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(address);
        LearnAddress(node, address);
        foreach (long partition in _driver.Replicas.Keys)
        {
            ClusterChange learner = await ChangeAsync(partition, members => With(members, node, votes: false), cancellation).ConfigureAwait(false);
            if (learner.Status != Status.Ok)
            {
                return learner;
            }

            while (!await AskAsync(partition, (replica, _) => HasCaughtUp(replica, node)).ConfigureAwait(false))
            {
                await Task.Delay(PollInterval, _time, cancellation).ConfigureAwait(false);
            }

            ClusterChange voter = await ChangeAsync(partition, members => With(members, node, votes: true), cancellation).ConfigureAwait(false);
            if (voter.Status != Status.Ok)
            {
                return voter;
            }
        }

        return new ClusterChange(Status.Ok, Id, null);
    }

    /// <summary>Removes a node. Asked of the leader. The node's number must not be used again.</summary>
    public async Task<ClusterChange> RemoveNodeAsync(long node, CancellationToken cancellation = default)
    {
        foreach (long partition in _driver.Replicas.Keys)
        {
            ClusterChange change = await ChangeAsync(partition, members => Without(members, node), cancellation).ConfigureAwait(false);
            if (change.Status != Status.Ok)
            {
                return change;
            }
        }

        return new ClusterChange(Status.Ok, Id, null);
    }

    /// <summary>Hands leadership of all partitions that this node leads to another node.</summary>
    public async Task<ClusterChange> TransferAsync(long node, CancellationToken cancellation = default)
    {
        foreach (long partition in _driver.Replicas.Keys)
        {
            (Refusal refusal, long leader) = await AskAsync(partition, (replica, now) => (replica.Group.Transfer(node, now), replica.Group.Leader)).ConfigureAwait(false);
            if (refusal is not (Refusal.None or Refusal.NoChange))
            {
                return Refused(refusal, leader);
            }

            long until = Now() + (long)(2 * _options.ElectionTimeout.TotalMilliseconds);
            while (refusal == Refusal.None && await AskAsync(partition, static (replica, _) => replica.Group.Leader).ConfigureAwait(false) != node)
            {
                if (Now() > until)
                {
                    return new ClusterChange(Status.Unavailable, leader, $"node {node} did not take over in time; it may be behind or not reachable");
                }

                await Task.Delay(PollInterval, _time, cancellation).ConfigureAwait(false);
            }
        }

        return new ClusterChange(Status.Ok, node, null);
    }

    /// <summary>Leaves the cluster for now, and closes the store.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _stopped, 1) != 0)
        {
            return;
        }

        var stopped = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _driver.Post(() =>
        {
            _driver.BeginStop();
            stopped.SetResult();
        });
        await stopped.Task.ConfigureAwait(false);
        await _transport.DisposeAsync().ConfigureAwait(false);

        // Closing asks for the writers' roles, which the loop serves.
        await Store.DisposeAsync().ConfigureAwait(false);
        _thread.Dispose();
    }

    private static void Check(ClusterOptions options)
    {
        int name = Encoding.UTF8.GetByteCount(options.Name);
        if (name is 0 or > ClusterFile.MaxNameBytes)
        {
            throw new StoreException($"a cluster's name has 1 to {ClusterFile.MaxNameBytes} bytes, not {name}");
        }

        if (options.Node < 1 || !options.Peers.ContainsKey(options.Node) || options.Peers.Keys.Any(static node => node < 1))
        {
            throw new StoreException($"nodes are numbers from 1 on, and the peers' list has this one's ({options.Node}) with the others'");
        }

        if (options.ElectionTimeout < TimeSpan.FromMilliseconds(50) || options.ElectionTimeout > TimeSpan.FromMinutes(1))
        {
            throw new StoreException("the election time-out is 50 milliseconds to 1 minute");
        }
    }

    /// <summary>Whether the folder becomes a node's now. Throws if it is another's.</summary>
    private static bool Identify(IFileSystem files, string directory, ClusterOptions options)
    {
        if (ClusterFile.Read(files, directory) is not { } known)
        {
            return true;
        }

        return known == (options.Node, options.Name)
            ? false
            : throw new StoreException(string.Create(CultureInfo.InvariantCulture, $"'{directory}' is the folder of node {known.Node} of the cluster '{known.Name}', not of node {options.Node} of '{options.Name}'"));
    }

    private static DriverOptions ToDriver(ClusterOptions options) => new()
    {
        Node = options.Node,
        Cluster = XxHash64.Compute(Encoding.UTF8.GetBytes(options.Name)),
        FirstVoters = options.Joins ? [] : [.. options.Peers.Keys.Order()],
        ElectionTimeout = (long)options.ElectionTimeout.TotalMilliseconds,
        HeartbeatInterval = Math.Max(1, (long)options.ElectionTimeout.TotalMilliseconds / 10),
        RequestTimeout = (long)options.RequestTimeout.TotalMilliseconds,
        Seed = BitConverter.ToUInt64(RandomNumberGenerator.GetBytes(sizeof(ulong))),
    };

    private static ReplicaStatus Describe(Replica replica, long now)
    {
        RaftGroup group = replica.Group;
        Membership members = group.Membership;
        return new ReplicaStatus
        {
            Partition = replica.Partition,
            Node = group.Id,
            Role = replica.Failure is not null ? "stopped" : group.Role switch
            {
                Role.Leader => "leader",
                Role.Follower => members.IsVoter(group.Id) ? "follower" : "learner",
                _ => "candidate",
            },
            Leader = group.Leader,
            Term = group.Term,
            LastIndex = group.Last.Index,
            CommitIndex = group.CommitIndex,
            AppliedIndex = group.AppliedIndex,
            Voters = members.Voters.ToArray(),
            Learners = members.Learners.ToArray(),
            Progress = group.Followers.ToDictionary(static one => one.Node, static one => one.Match),
            Failure = replica.Failure?.Message,
        };
    }

    private static Membership With(Membership members, long node, bool votes) => new(
        members.Voters.ToArray().Union(votes ? [node] : []),
        members.Learners.ToArray().Except(votes ? [node] : []).Union(votes || members.IsVoter(node) ? [] : [node]));

    private static Membership Without(Membership members, long node) => new(members.Voters.ToArray().Except([node]), members.Learners.ToArray().Except([node]));

    /// <summary>Near enough: what is missing arrives while the change is agreed on.</summary>
    private static bool HasCaughtUp(Replica replica, long node)
    {
        const long NearEnough = 100;
        return replica.Group.Role != Role.Leader
            || replica.Group.Followers.Any(one => one.Node == node && one.State == ProgressState.Replicate && one.Match + NearEnough >= replica.Group.CommitIndex);
    }

    private static ClusterChange Refused(Refusal refusal, long leader) => refusal switch
    {
        Refusal.NotLeader => new ClusterChange(Status.BadNode, leader, leader == NodeId.None ? "nobody leads at the moment; try again" : $"node {leader} leads; ask that one"),
        Refusal.NotVoter => new ClusterChange(Status.Invalid, leader, "the node is no voter of the cluster"),
        Refusal.NoChange => new ClusterChange(Status.Invalid, leader, "the last voter cannot be removed"),
        _ => new ClusterChange(Status.Busy, leader, "another change is under way; try again in a moment"),
    };

    private long Now() => DriverThread.Clock();

    private void Start()
    {
        foreach ((long node, DnsEndPoint address) in _options.Peers)
        {
            _peers[(ulong)node] = new PeerAddress(address.Host, address.Port);
        }

        _transport.SetPeers(_peers);
        _transport.Start(_driver);
        _thread.Start(_driver.Run, _driver.Stop);
        _thread.Signal();
    }

    private void LearnAddress(long node, DnsEndPoint address)
    {
        lock (_gate)
        {
            _peers[(ulong)node] = new PeerAddress(address.Host, address.Port);
            _transport.SetPeers(_peers);
        }
    }

    private async ValueTask<Status> ConfirmAsync(long partition, TimeSpan? maxStaleness, CancellationToken cancellation)
    {
        long asked = Now();
        if (maxStaleness is { } allowed)
        {
            lock (_gate)
            {
                if (_confirmedAt.TryGetValue(partition, out long confirmed) && asked - confirmed <= allowed.TotalMilliseconds)
                {
                    return Status.Ok;
                }
            }
        }

        var confirmation = new ReadConfirmation();
        _driver.Read(partition, confirmation);
        Status status = await confirmation.Task.WaitAsync(cancellation).ConfigureAwait(false);
        if (status == Status.Ok)
        {
            lock (_gate)
            {
                _confirmedAt[partition] = Math.Max(asked, _confirmedAt.GetValueOrDefault(partition));
            }
        }

        return status;
    }

    private async Task<ClusterChange> ChangeAsync(long partition, Func<Membership, Membership> change, CancellationToken cancellation)
    {
        while (true)
        {
            (Refusal refusal, long leader, bool isDone) = await AskAsync(partition, (replica, now) =>
            {
                Membership present = replica.Group.Membership;
                Membership next = change(present);
                bool isThere = !present.IsJoint && next.Equals(present);
                if (replica.Group.Role != Role.Leader)
                {
                    return (Refusal.NotLeader, replica.Group.Leader, false);
                }

                return isThere ? (Refusal.None, replica.Group.Leader, replica.Group.CommitIndex >= replica.MembershipIndex) : (replica.Group.Change(next, now).Refusal, replica.Group.Leader, false);
            }).ConfigureAwait(false);
            if (isDone)
            {
                return new ClusterChange(Status.Ok, leader, null);
            }

            if (refusal is not (Refusal.None or Refusal.ChangeInProgress))
            {
                return Refused(refusal, leader);
            }

            await Task.Delay(PollInterval, _time, cancellation).ConfigureAwait(false);
        }
    }

    private Task<T> AskAsync<T>(long partition, Func<Replica, long, T> question)
    {
        var answer = new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);
        _driver.Post(partition, (replica, now) => answer.SetResult(question(replica, now)));
        return answer.Task;
    }
}
