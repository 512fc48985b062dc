using System.Collections.Concurrent;
using System.Diagnostics;
using KeyVa.Cluster;
using KeyVa.Partitions;
using KeyVa.Protocol.Resp;
using KeyVa.Server.Admission;
using KeyVa.Server.Identity;

namespace KeyVa.Server.Resp;

/// <summary>What all Redis connections of a server share. Thread-safe.</summary>
internal sealed class RespDoor : IAsyncDisposable
{
    /// <summary>The Redis whose commands and words these are; clients choose what they send by it.</summary>
    public const string RedisVersion = "7.0.15";

    /// <summary>What unfinished commands of all connections may hold together, beyond what each has without asking.</summary>
    private const long MaxUnfinishedBytes = 1L << 30;

    /// <summary>Gathering places kept for the next pipelines: where syncs are waited for, each connection that writes has one.</summary>
    private const int MaxPooledSets = 256;

    private readonly ConcurrentDictionary<long, RespSession> _sessions = new();
    private readonly PipelinedSets?[] _sets = new PipelinedSets?[MaxPooledSets];
    private readonly CancellationTokenSource _stopping = new();
    private readonly long _began = Stopwatch.GetTimestamp();
    private readonly PartitionRegistry _partitions;
    private long _lastId;
    private long _unfinishedBytes;
    private int _maxClients;
    private int _pendingWrites;
    private long _idleTicks;
    private long _latencySince;

    private readonly UserStore _users;
    private readonly ConnectionLimits _connections;
    private readonly IDisposable _following;

    public RespDoor(
        Store store, ServerOptions options, FailureLog failures, RequestObserver observer, RequestMeter meter, LiveConfiguration configuration,
        Authenticator authenticator, UserStore users, OwnPassword ownPassword, RateLimits rates, AuditLog audit)
    {
        _users = users;
        Authenticator = authenticator;
        OwnPassword = ownPassword;
        Rates = rates;
        Audit = audit;
        _connections = new ConnectionLimits(options.RespMaxClients, options.MaxAddressConnections, int.MaxValue, int.MaxValue);
        _following = users.OnChange(CutOff);
        Store = store;
        Clock = options.Clock;
        Failures = failures;
        Observer = observer;
        Meter = meter;
        Configuration = configuration;
        Patience = options.RespPatience;
        int longest = Math.Max(options.RespMaxRequestBytes, store.Options.MaxValueBytes + RespLimits.MaxLineBytes);
        Limits = new RespLimits { MaxBulkBytes = longest, MaxCommandBytes = longest };
        Events = new KeyspaceEvents(this);
        _partitions = (PartitionRegistry)store.Partitions;
        configuration.Follow(Configure);
    }

    public Store Store { get; }

    /// <summary>The node's part in a cluster; null: it is alone.</summary>
    public ClusterNode? Cluster { get; init; }

    /// <summary>Whether reads wait until this node has everything that was acknowledged anywhere before they came.</summary>
    public bool ConfirmsReads { get; init; }

    public Authenticator Authenticator { get; }

    public OwnPassword OwnPassword { get; }

    public RateLimits Rates { get; }

    public AuditLog Audit { get; }

    /// <summary>The users of this moment.</summary>
    public UserDirectory Users => _users.Current;

    public TimeProvider Clock { get; }

    public FailureLog Failures { get; }

    public RespLimits Limits { get; }

    /// <summary>Connections open at once; the next one is told so and closed.</summary>
    public int MaxClients => Volatile.Read(ref _maxClients);

    /// <summary>A connection that sends nothing for so long is closed; zero: never.</summary>
    public TimeSpan IdleTimeout => TimeSpan.FromTicks(Interlocked.Read(ref _idleTicks));

    public RequestObserver Observer { get; }

    /// <summary>The latencies of commands.</summary>
    public RequestMeter Meter { get; }

    public LiveConfiguration Configuration { get; }

    /// <summary>How long a command may stay unfinished, a client take nothing, or a stranger stay one.</summary>
    public TimeSpan Patience { get; }

    public int Port { get; set; }

    public PubSubHub Hub { get; } = new();

    public KeyspaceEvents Events { get; }

    public ScanCursors Cursors { get; } = new();

    public SlowLog SlowLog => Observer.Slow;

    /// <summary>The first entry of the slow log that LATENCY tells of.</summary>
    public long LatencySince
    {
        get => Interlocked.Read(ref _latencySince);
        set => Interlocked.Exchange(ref _latencySince, value);
    }

    public IEnumerable<RespSession> Sessions => _sessions.Values;

    public int Connections => _sessions.Count;

    public long TotalConnections => Interlocked.Read(ref _lastId);

    public TimeSpan Uptime => Stopwatch.GetElapsedTime(_began);

    /// <summary>Whether every partition keeps its keys in order.</summary>
    public bool IsOrdered => AllPartitions(static partition => partition.Engine.IsOrdered);

    /// <summary>Whether every partition knows how many keys it has.</summary>
    public bool CountsExactly => AllPartitions(static partition => !partition.Engine.IsOrdered);

    /// <summary>Cancelled when a stop waits no longer for transactions that wait for others.</summary>
    public CancellationToken Stopping => _stopping.Token;

    public bool HasOnePartition => _partitions.Map.Partitions.Length == 1;

    public bool IsVolatile => AllPartitions(static partition => partition.Writer.IsVolatile);

    /// <summary>Milliseconds since 1970-01-01 UTC.</summary>
    public long Now() => Clock.GetUtcNow().ToUnixTimeMilliseconds();

    private void Configure(ServerOptions options)
    {
        Volatile.Write(ref _maxClients, options.RespMaxClients);
        _connections.Change(options.RespMaxClients);
        Interlocked.Exchange(ref _idleTicks, options.RespIdleTimeout.Ticks);
    }

    /// <summary>Takes in a connection; null: there are too many.</summary>
    public RespSession? TryOpen(System.Net.EndPoint? peer, Action wake)
    {
        if (_connections.TryConnect(peer) is not { } address)
        {
            return null;
        }

        RespSession session = new(this, Interlocked.Increment(ref _lastId), peer, address, wake);
        _sessions[session.Id] = session;
        return session;
    }

    public void Forget(RespSession session)
    {
        if (_sessions.TryRemove(session.Id, out _))
        {
            _connections.Leave(session.Address);
        }
    }

    /// <summary>
    /// Whether pipelines may have more writes under way: those of all connections take half of a partition's queue at most, so that the others find
    /// room in it. A bound that many look at at once, so a few more may pass.
    /// </summary>
    public bool MayPend => Volatile.Read(ref _pendingWrites) < Store.Options.MaxQueuedWrites / 2;

    /// <summary>So many more writes of pipelines are under way, or fewer.</summary>
    public void NotePending(int change) => Interlocked.Add(ref _pendingWrites, change);

    /// <summary>A connection wants to hold so many bytes more of an unfinished command (or fewer); false: all together hold too many.</summary>
    public bool TryHold(long bytes)
    {
        if (Interlocked.Add(ref _unfinishedBytes, bytes) <= MaxUnfinishedBytes || bytes < 0)
        {
            return true;
        }

        Interlocked.Add(ref _unfinishedBytes, -bytes);
        return false;
    }

    public PipelinedSets RentSets()
    {
        foreach (ref PipelinedSets? place in _sets.AsSpan())
        {
            if (place is not null && Interlocked.Exchange(ref place, null) is { } sets)
            {
                return sets;
            }
        }

        return new PipelinedSets(Store);
    }

    public void ReturnSets(PipelinedSets sets)
    {
        foreach (ref PipelinedSets? place in _sets.AsSpan())
        {
            if (place is null && Interlocked.CompareExchange(ref place, sets, null) is null)
            {
                return;
            }
        }
    }

    /// <summary>Transactions that meet others are not begun again; see <see cref="Stopping"/>.</summary>
    public void GiveUp() => _stopping.Cancel();

    public async ValueTask DisposeAsync()
    {
        _following.Dispose();
        await Events.DisposeAsync();
        _stopping.Dispose();
    }

    /// <summary>The users have changed: whoever only listens, and so is not asked at its next command, is cut off if it may not any more.</summary>
    private void CutOff()
    {
        UserDirectory users = Users;
        foreach (RespSession session in Sessions)
        {
            if (session.Subscriptions.Count > 0 && session.Caller.AsOf(users).Data.Highest < Level.Read)
            {
                session.Kill();
            }
        }
    }

    private bool AllPartitions(Func<Partition, bool> holds)
    {
        foreach (Partition partition in _partitions.Map.Partitions)
        {
            if (!holds(partition))
            {
                return false;
            }
        }

        return true;
    }
}
