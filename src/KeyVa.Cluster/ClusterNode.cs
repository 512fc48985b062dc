using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using KeyVa.Cluster.Driver;
using KeyVa.Cluster.Transport;
using KeyVa.Cluster.Transport.ZeroMq;
using KeyVa.Io;
using KeyVa.Partitions;
using KeyVa.Raft;
using Refusal = KeyVa.Raft.Refusal;

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
    private readonly IFileSystem _files;
    private readonly ClusterFile _identity;

    // By partition: when the question was asked whose answer was the last to come, by this node's clock.
    private readonly Dictionary<long, long> _confirmedAt = [];
    private int _stopped;

    private ClusterNode(ClusterOptions options, ClusterFile identity, ClusterDriver driver, DriverThread thread, ITransport transport, Store store, StoreEnvironment environment)
    {
        _identity = identity;
        _files = environment.FileSystem;
        _options = options;
        _driver = driver;
        _thread = thread;
        _transport = transport;
        _time = environment.Time;
        Store = store;
    }

    /// <summary>The store. What is read from it directly is this node's copy, which may be behind: see <see cref="ConfirmReadsAsync"/>.</summary>
    public Store Store { get; }

    /// <summary>The node's number.</summary>
    public long Id => _options.Node;

    /// <summary>The cluster's name.</summary>
    public string ClusterName => _options.Name;

    /// <summary>Why the list of nodes could last not be written to the folder; null: it could.</summary>
    internal StoreException? BookFailure { get; private set; }

    /// <summary>Where the nodes are that this one knows, as their clients reach them; empty texts: not known.</summary>
    internal AddressBook.Entry? AddressesOf(long node)
    {
        lock (_gate)
        {
            return _identity.Book.Find(node);
        }
    }

    /// <summary>The nodes that this one knows.</summary>
    internal IReadOnlyList<long> KnownNodes()
    {
        lock (_gate)
        {
            return [.. _identity.Book.Nodes];
        }
    }

    /// <summary>Where clients reach this node: the others are told.</summary>
    public void Announce(NodeAddresses addresses)
    {
        ArgumentNullException.ThrowIfNull(addresses);
        Learn(Id, new AddressBook.Entry(_time.GetUtcNow().ToUnixTimeMilliseconds(), _options.Peers[Id], $"{addresses.Rest}", $"{addresses.Data}", $"{addresses.Control}", $"{addresses.Resp}"));
    }

    /// <summary>
    /// Opens the node whose data is in a folder, created if missing; a store that was alone becomes the first node of a cluster, with all that it holds. Throws
    /// <see cref="StoreException"/> as <see cref="Store.Open(string, StoreOptions)"/> does, if the folder is another node's, or if peers cannot be listened for.
    /// </summary>
    public static ClusterNode Open(string path, StoreOptions store, ClusterOptions options)
    {
        ArgumentNullException.ThrowIfNull(store);
        ArgumentNullException.ThrowIfNull(options);
        Check(options);
        byte[] name = Encoding.UTF8.GetBytes(options.Name);
        Span<byte> identity = stackalloc byte[16];
        System.Buffers.Binary.BinaryPrimitives.WriteUInt64LittleEndian(identity, XxHash64.Compute(name));
        System.Buffers.Binary.BinaryPrimitives.WriteUInt64LittleEndian(identity[8..], XxHash64.Compute(name, 1));
        ClusterPeer own = options.Peers[options.Node];
        var transport = new ZmqTransport(
            new ZmqTransportOptions
            {
                Node = (ulong)options.Node,
                Cluster = new Guid(identity),
                Host = options.ListenHost ?? own.Host,
                Port = own.Port,
                Keys = options.KeyFile is null ? null : NodeKeys.Load(options.KeyFile),
            },
            DiskFileSystem.Instance);
        return Open(path, store, options, transport);
    }

    /// <summary>Opens a node with a transport of the caller's choice, which it owns from here on.</summary>
    internal static ClusterNode Open(string path, StoreOptions store, ClusterOptions options, ITransport transport, StoreEnvironment? environment = null)
    {
        Check(options);
        environment ??= new StoreEnvironment();
        string directory = Path.GetFullPath(path);
        ClusterFile? known = ClusterFile.Read(environment.FileSystem, directory);
        Check(known, directory, options);
        var thread = new DriverThread();
        var driver = new ClusterDriver(ToDriver(options), transport, DriverThread.Clock, thread.Signal);
        Store? opened = null;
        try
        {
            opened = Store.Open(directory, store, environment with { Replication = driver });
            var node = new ClusterNode(options, known ?? new ClusterFile(options.Node, options.Name, new AddressBook()), driver, thread, transport, opened, environment);
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

    /// <summary>The partitions that are replicated.</summary>
    public IReadOnlyCollection<long> Partitions => [.. _driver.Replicas.Keys.Order()];

    /// <summary>
    /// Waits until so many voters beside the leader have a write on disk, and everything before it, or the time is over; how many have. 0 if the write is lost, which
    /// one below <see cref="AcknowledgementClass.Sync"/> may be, or if nobody can be asked.
    /// </summary>
    public async ValueTask<int> CountReplicasAsync(WriteReceipt receipt, int replicas, TimeSpan timeout, CancellationToken cancellation = default)
    {
        if (!_driver.Replicas.ContainsKey(receipt.Partition))
        {
            return 0;
        }

        var count = new ReplicaCount();
        long most = (long)Math.Min(timeout.TotalMilliseconds, TimeSpan.FromDays(1).TotalMilliseconds);
        _driver.Post(receipt.Partition, (replica, now) => replica.Count(count, receipt.Term, receipt.Index, (byte)Math.Clamp(replicas, 0, byte.MaxValue), now + most));
        return await count.Task.WaitAsync(cancellation).ConfigureAwait(false);
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
    public async Task<ClusterChange> AddNodeAsync(long node, ClusterPeer address, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(address);
        AddressBook.Entry told;
        lock (_gate)
        {
            told = Told(node, address);
        }

        Learn(node, told);
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

    private static void Check(ClusterFile? known, string directory, ClusterOptions options)
    {
        if (known is not null && (known.Node != options.Node || known.Name != options.Name))
        {
            throw new StoreException(string.Create(CultureInfo.InvariantCulture, $"'{directory}' is the folder of node {known.Node} of the cluster '{known.Name}', not of node {options.Node} of '{options.Name}'"));
        }
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

    private static long Now() => DriverThread.Clock();

    // Under the gate. What an operator says of another node counts until that node tells of itself, with the time of its start.
    private AddressBook.Entry Told(long node, ClusterPeer peer) => _identity.Book.Find(node) is not { } known
        ? new AddressBook.Entry(0, peer)
        : known.Peer == peer ? known : known with { Peer = peer, Version = known.Version + 1 };

    private void Start()
    {
        lock (_gate)
        {
            foreach ((long node, ClusterPeer peer) in _options.Peers)
            {
                _identity.Book.Learn(node, Told(node, peer));
            }

            _identity.Write(_files, Store.Path);
            _transport.SetPeers(Peers());
        }

        _driver.BookReceived = Merge;
        _driver.Installing = EndTransactions;
        _driver.PeerCameUp = peer =>
        {
            lock (_gate)
            {
                _driver.SendBook(peer, _identity.Book.Encode());
            }
        };
        _transport.Start(_driver);
        _thread.Start(_driver.Run, _driver.Stop);
        _thread.Signal();
    }

    // Under the gate.
    private Dictionary<ulong, PeerAddress> Peers()
    {
        Dictionary<ulong, PeerAddress> peers = [];
        foreach (long node in _identity.Book.Nodes.Where(node => node != Id))
        {
            ClusterPeer peer = _identity.Book.Find(node)!.Peer;
            peers[(ulong)node] = new PeerAddress(peer.Host, peer.Port, peer.PublicKey);
        }

        return peers;
    }

    private void Learn(long node, AddressBook.Entry entry)
    {
        lock (_gate)
        {
            if (_identity.Book.Learn(node, entry))
            {
                Changed();
            }
        }

        _driver.Post(Tell);
    }

    // On the loop.
    private void Merge(ReadOnlyMemory<byte> book)
    {
        lock (_gate)
        {
            if (_identity.Book.Merge(book.Span))
            {
                Changed();
            }
        }
    }

    // Under the gate. A book that cannot be written is told again by the others after the next start.
    private void Changed()
    {
        _transport.SetPeers(Peers());
        try
        {
            _identity.Write(_files, Store.Path);
        }
        catch (StorageException failure)
        {
            BookFailure = failure;
        }
    }

    // On the loop. A snapshot holds no versions of before it: what reads at one of those has to end.
    private void EndTransactions()
    {
        foreach (TransactionInfo transaction in Store.ListTransactions(Store.Options.MaxTransactions, 0))
        {
            Store.EndTransaction(transaction.Number);
        }
    }

    // On the loop.
    private void Tell()
    {
        lock (_gate)
        {
            byte[] book = _identity.Book.Encode();
            foreach (long node in _identity.Book.Nodes)
            {
                _driver.SendBook(node, book);
            }
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
