using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using KeyVa.Cluster.Changes;
using KeyVa.Cluster.Driver;
using KeyVa.Cluster.Transport;
using KeyVa.Cluster.Transport.ZeroMq;
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
    /// <summary>What a leader is waited for who is asked how far the others are; the rest is known here.</summary>
    private static readonly TimeSpan StatusTimeout = TimeSpan.FromMilliseconds(250);

    private readonly ClusterOptions _options;
    private readonly ClusterDriver _driver;
    private readonly DriverThread _thread;
    private readonly ITransport _transport;
    private readonly TimeProvider _time;
    private readonly Lock _gate = new();
    private readonly IFileSystem _files;
    private readonly LeasePromise _promise;

    // Guarded by the gate.
    private ClusterFile _identity;
    private readonly ClusterChanges _changes;

    // Whether the folder became this node's just now.
    private readonly bool _isNew;

    // By partition: when the question was asked whose answer was the last to come, by this node's clock.
    private readonly Dictionary<long, long> _confirmedAt = [];
    private int _stopped;

    // The loop's. Confirmed: another node has the same partitions.
    private long _askLayoutAt;
    private bool _isConfirmed;

    private ClusterNode(ClusterOptions options, ClusterFile? known, ClusterDriver driver, DriverThread thread, ITransport transport, Store store, StoreEnvironment environment)
    {
        _isNew = known is null;
        _promise = new LeasePromise(driver.Options);
        _identity = (known ?? new ClusterFile(options.Node, options.Name, new AddressBook())) with { PromiseMilliseconds = _promise.Recorded };
        _files = environment.FileSystem;
        _options = options;
        _driver = driver;
        _thread = thread;
        _transport = transport;
        _time = environment.Time;
        _changes = new ClusterChanges(driver, environment.Time, KnownNodes);
        Store = store;
    }

    /// <summary>The store. What is read from it directly is this node's copy, which may be behind: see <see cref="ConfirmReadsAsync(TimeSpan?, CancellationToken)"/>.</summary>
    public Store Store { get; }

    /// <summary>The node's number.</summary>
    public long Id => _options.Node;

    /// <summary>The cluster's name.</summary>
    public string ClusterName => _options.Name;

    /// <summary>Why the list of nodes could last not be written to the folder, or a peer's not be taken; null: it could.</summary>
    internal StoreException? BookFailure { get; private set; }

    /// <summary>Why this node has not the partitions of the others; null: it has, or has not heard of them.</summary>
    internal string? LayoutFailure { get; private set; }

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

    /// <summary>Whether nothing is prepared, and no decision kept that others may ask for, of commits over several partitions, as this node's copies are.</summary>
    internal bool AreCommitsEnded() => _driver.Replicas.Values.All(static replica =>
        replica.Writer.Engine.Commits is { Prepared: null, Decisions: var decisions } && decisions.Values.All(static decision => decision.Version == 0));

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
        var driver = new ClusterDriver(ToDriver(options, known), transport, DriverThread.Clock, thread.Signal, tryRun: thread.TryRun);
        Store? opened = null;
        try
        {
            // Who joins has the partitions that the others tell of.
            bool learns = options.Joins && known is null && !store.Volatile;
            opened = Store.Open(directory, learns ? store with { CreateDefaultPartition = false, SplitAt = [] } : store, environment with { Replication = driver });
            var node = new ClusterNode(options, known, driver, thread, transport, opened, environment);
            node.Start();
            return node;
        }
        catch
        {
            driver.BeginStop();
            transport.DisposeAsync().AsTask().GetAwaiter().GetResult();
            if (opened is not null)
            {
                // Closing asks for the writers' roles, which the loop serves.
                thread.Start(driver.Run, driver.Stop);
                opened.DisposeAsync().AsTask().GetAwaiter().GetResult();
            }

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
    public ValueTask<Status> ConfirmReadsAsync(TimeSpan? maxStaleness = null, CancellationToken cancellation = default) =>
        ConfirmReadsAsync([.. _driver.Replicas.Keys], maxStaleness, cancellation);

    /// <summary>As the other one, for reads of these partitions alone.</summary>
    internal ValueTask<Status> ConfirmReadsAsync(IReadOnlyList<long> partitions, TimeSpan? maxStaleness, CancellationToken cancellation)
    {
        if (!_driver.HasPartitions)
        {
            // It has not been told yet what there is to read. Who finds a partition finds its replica too.
            return ValueTask.FromResult(Status.Unavailable);
        }

        return partitions.Count == 1 && _driver.Replicas.ContainsKey(partitions[0]) ? ConfirmAsync(partitions[0], maxStaleness, cancellation) : ConfirmEachAsync(partitions, maxStaleness, cancellation);
    }

    /// <summary>The node that leads a partition, as this one knew it last; 0: none that is known. Volatile partitions have none.</summary>
    internal long LeaderOf(long partition) => _driver.Leaders.Of(partition);

    /// <summary>Whether a partition is replicated.</summary>
    internal bool Replicates(long partition) => _driver.Replicas.ContainsKey(partition);

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

    /// <summary>How this node sees its partitions; <paramref name="asksLeaders"/>: and what those who lead them know of the others, if they answer at once.</summary>
    public async Task<IReadOnlyList<ReplicaStatus>> GetStatusAsync(bool asksLeaders = false, CancellationToken cancellation = default)
    {
        ReplicaStatus[] replicas = await Task.WhenAll(_driver.Replicas.Keys.Order().Select(partition => AskAsync(partition, Describe))).ConfigureAwait(false);
        return asksLeaders ? await Task.WhenAll(replicas.Select(one => WithProgressAsync(one, cancellation))).ConfigureAwait(false) : replicas;
    }

    /// <summary>
    /// Adds a node to all partitions: as a learner first, and as a voter once it has what the others have. The node must be running, and must have been started so that it joins. Any node
    /// may be asked; asked again, it goes on with what is not done.
    /// </summary>
    public Task<ClusterChange> AddNodeAsync(long node, ClusterPeer address, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(address);
        AddressBook.Entry told;
        lock (_gate)
        {
            told = Told(node, address);
        }

        Learn(node, told);
        return ChangeAsync(new ChangeRequest(ChangeKind.Add, node), cancellation);
    }

    /// <summary>Removes a node from all partitions, as <see cref="AddNodeAsync"/> adds one. The node's number must not be used again.</summary>
    public Task<ClusterChange> RemoveNodeAsync(long node, CancellationToken cancellation = default) => ChangeAsync(new ChangeRequest(ChangeKind.Remove, node), cancellation);

    /// <summary>Hands leadership of all partitions to a node, as <see cref="AddNodeAsync"/> adds one.</summary>
    public Task<ClusterChange> TransferAsync(long node, CancellationToken cancellation = default) => ChangeAsync(new ChangeRequest(ChangeKind.Transfer, node), cancellation);

    /// <summary>Hands leadership of one partition to a node.</summary>
    public Task<ClusterChange> TransferAsync(long partition, long node, CancellationToken cancellation = default) => _driver.Replicas.ContainsKey(partition)
        ? _changes.ApplyAsync(new ChangeRequest(ChangeKind.Transfer, node), [partition], cancellation)
        : Task.FromResult(new ClusterChange(Status.NotFound, NodeId.None, string.Create(CultureInfo.InvariantCulture, $"there is no partition {partition}; 'keyva admin partition list' shows them")));

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

        KeepPromise();

        // Closing asks for the writers' roles, which the loop serves.
        await Store.DisposeAsync().ConfigureAwait(false);
        _thread.Dispose();
        _driver.End();
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

        if (options.MaxClockDriftPercent is < 1 or > 100)
        {
            throw new StoreException($"clocks are taken to differ in rate by 1 to 100 percent at most, not {options.MaxClockDriftPercent}");
        }
    }

    private static void Check(ClusterFile? known, string directory, ClusterOptions options)
    {
        if (known is not null && (known.Node != options.Node || known.Name != options.Name))
        {
            throw new StoreException(string.Create(CultureInfo.InvariantCulture, $"'{directory}' is the folder of node {known.Node} of the cluster '{known.Name}', not of node {options.Node} of '{options.Name}'"));
        }
    }

    private static DriverOptions ToDriver(ClusterOptions options, ClusterFile? known) => new()
    {
        Node = options.Node,
        Cluster = XxHash64.Compute(Encoding.UTF8.GetBytes(options.Name)),
        FirstVoters = options.Joins ? [] : [.. options.Peers.Keys.Order()],
        ElectionTimeout = (long)options.ElectionTimeout.TotalMilliseconds,
        HeartbeatInterval = Math.Max(1, (long)options.ElectionTimeout.TotalMilliseconds / 10),
        RequestTimeout = (long)options.RequestTimeout.TotalMilliseconds,
        FallsSilent = options.FallsSilent,
        LeaseReads = options.LeaseReads,
        MaxClockDriftPercent = options.MaxClockDriftPercent,
        PromisedBefore = known?.PromiseMilliseconds ?? 0,
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
            IsSilent = replica.IsSilent,
            HasLease = replica.Failure is null && group.HasLease(now),
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

            // What the transport refuses is not written down: the node would not open with the right peers either.
            _transport.SetPeers(Peers(_identity.Book));
            _identity.Write(_files, Store.Path);
        }

        _driver.BookReceived = Merge;
        _driver.Installing = EndTransactions;
        _driver.LayoutReceived = Compare;
        _driver.LayoutMissed = AskLayout;
        _driver.PeerCameUp = peer =>
        {
            lock (_gate)
            {
                _driver.SendBook(peer, _identity.Book.Encode());
            }

            TellLayout(peer, isAnswer: false);
        };
        _transport.Start(_driver);
        _driver.Post(() =>
        {
            // Peers that can be reached before they are said to be.
            foreach (long node in KnownNodes())
            {
                TellLayout(node, isAnswer: false);
            }
        });
        _thread.Start(_driver.Run, _driver.Stop);
        _thread.Signal();
    }

    private Dictionary<ulong, PeerAddress> Peers(AddressBook book)
    {
        Dictionary<ulong, PeerAddress> peers = [];
        foreach (long node in book.Nodes.Where(node => node != Id))
        {
            ClusterPeer peer = book.Find(node)!.Peer;
            peers[(ulong)node] = new PeerAddress(peer.Host, peer.Port, peer.PublicKey);
        }

        return peers;
    }

    private void Learn(long node, AddressBook.Entry entry)
    {
        lock (_gate)
        {
            AddressBook next = _identity.Book.Copy();
            if (next.Learn(node, entry))
            {
                Take(next);
            }
        }

        _driver.Post(Tell);
    }

    // On the loop, which a peer's book must not end: with an address that this node's transport refuses, it is as one that did not arrive.
    private void Merge(ReadOnlyMemory<byte> book)
    {
        lock (_gate)
        {
            AddressBook next = _identity.Book.Copy();
            try
            {
                if (next.Merge(book.Span))
                {
                    Take(next);
                }
            }
            catch (StoreException failure)
            {
                BookFailure = failure;
            }
        }
    }

    // Nothing is promised any more, and the folder is still this node's. What cannot be written is kept for longer than it has to be.
    private void KeepPromise()
    {
        lock (_gate)
        {
            if (_promise.AtEnd(Now()) is var left && left < _identity.PromiseMilliseconds)
            {
                _identity = _identity with { PromiseMilliseconds = left };
                Write();
            }
        }
    }

    // Under the gate. Throws where the transport refuses an address: then the book is as before. One that cannot be written is told again by the others after the next start.
    private void Take(AddressBook next)
    {
        _transport.SetPeers(Peers(next));
        _identity = _identity with { Book = next };
        Write();
    }

    // Under the gate.
    private void Write()
    {
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
    private void TellLayout(long peer, bool isAnswer)
    {
        if (peer != Id)
        {
            byte[] layout = _driver.Layout.Encode();
            _driver.SendLast(peer, frame => frame.AddLayout(layout, isAnswer));
        }
    }

    // On the loop: what was lost on its way is asked for again when it is missed, not at each word of it.
    private void AskLayout(long peer)
    {
        if (Now() >= _askLayoutAt)
        {
            _askLayoutAt = Now() + _driver.Options.HeartbeatInterval;
            TellLayout(peer, isAnswer: false);
        }
    }

    /// <summary>
    /// On the loop: a peer says which partitions it has. Who has none makes them its own. With others under the same numbers one of the two was started wrongly: they hear no more of
    /// each other, and a first node that is new, agrees with nobody and would vote with the peer stops.
    /// </summary>
    private void Compare(long peer, ReadOnlyMemory<byte> bytes, bool isAnswer)
    {
        if (!PartitionLayout.TryDecode(bytes.Span, out PartitionLayout theirs))
        {
            return;
        }

        if (!isAnswer)
        {
            TellLayout(peer, isAnswer: true);
        }

        if (theirs.Partitions.Count == 0)
        {
            return;
        }

        if (!_driver.HasPartitions)
        {
            try
            {
                _driver.Learn(theirs);
                LayoutFailure = null;
            }
            catch (StoreException failure)
            {
                // The next one who comes up tells of them again.
                LayoutFailure = failure.Message;
                return;
            }
        }

        PartitionLayout own = _driver.Layout;
        bool isStranger = !own.HasSame(theirs);
        _driver.SetStranger(peer, isStranger);
        _isConfirmed |= !isStranger;
        if (!isStranger)
        {
            return;
        }

        LayoutFailure = string.Create(CultureInfo.InvariantCulture, $"node {peer} has other partitions ({theirs}) than this node ({own}): the first nodes of a cluster are started with the same split-at, and others with an empty folder and cluster-join");
        if (!_isConfirmed && _driver.Options.FirstVoters.Contains(peer) && (_isNew || _driver.Replicas.Values.All(static one => one.Group.AppliedIndex <= SnapshotMetadata.InitialIndex)))
        {
            foreach (Replica replica in _driver.Replicas.Values)
            {
                replica.Stop(new StoreException(LayoutFailure));
            }
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

    // All are asked at once: a read of several partitions takes as long as its slowest leader.
    private async ValueTask<Status> ConfirmEachAsync(IReadOnlyList<long> partitions, TimeSpan? maxStaleness, CancellationToken cancellation)
    {
        Task<Status>[] asked = [.. partitions.Where(_driver.Replicas.ContainsKey).Select(partition => ConfirmAsync(partition, maxStaleness, cancellation).AsTask())];
        Status[] answers = await Task.WhenAll(asked).ConfigureAwait(false);
        return Array.Find(answers, static one => one != Status.Ok);
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
        // A loop of Redis clients has others to serve.
        _driver.Read(partition, confirmation, lendsThread: Thread.CurrentThread.IsThreadPoolThread);
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

    private async Task<ClusterChange> ChangeAsync(ChangeRequest request, CancellationToken cancellation) => Partitions is { Count: > 0 } partitions
        ? await _changes.ApplyAsync(request, [.. partitions], cancellation).ConfigureAwait(false)
        : new ClusterChange(Status.Unavailable, NodeId.None, LayoutFailure ?? "this node knows no partitions of the cluster yet; ask one that does");

    private async Task<ReplicaStatus> WithProgressAsync(ReplicaStatus status, CancellationToken cancellation) =>
        status.Leader == NodeId.None || status.Leader == Id || await _changes.TellAsync(status.Partition, status.Leader, StatusTimeout, cancellation).ConfigureAwait(false) is not { } told
            ? status
            : status with { Progress = told.Members.ToDictionary(static one => one.Node, static one => one.Match) };

    private Task<T> AskAsync<T>(long partition, Func<Replica, long, T> question)
    {
        var answer = new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);
        _driver.Post(partition, (replica, now) => answer.SetResult(question(replica, now)));
        return answer.Task;
    }
}
