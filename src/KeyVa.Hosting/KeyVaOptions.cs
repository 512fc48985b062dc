using KeyVa.Client;

namespace KeyVa.Hosting;

/// <summary>
/// The store of a host: a data folder (embedded) or the address of a server (remote), one of both. Bound from a section of the
/// configuration by name; a name that is none of these, or a value that cannot be read, stops the start and is named.
/// </summary>
public sealed class KeyVaOptions
{
    /// <summary>The section of the configuration that is usual.</summary>
    public const string Section = "KeyVa";

    /// <summary>The data folder of an embedded store; created if it is missing.</summary>
    public string? Data { get; set; }

    /// <summary>The data plane of a server, such as <c>127.0.0.1:7401</c>.</summary>
    public string? Server { get; set; }

    /// <summary>Remote: the control plane, which creates indexes; null: the port behind that of the data plane.</summary>
    public string? Control { get; set; }

    /// <summary>Embedded: when a write is acknowledged. Default: always, after a sync.</summary>
    public Durability Durability { get; set; } = Durability.Always;

    /// <summary>Embedded: the engine of a new folder. Default: lsm.</summary>
    public EngineKind Engine { get; set; } = EngineKind.Lsm;

    /// <summary>Embedded: no journal and no files; memory engine only. Default: false.</summary>
    public bool Volatile { get; set; }

    /// <summary>Embedded: between two syncs under durability interval. Default: 100 ms.</summary>
    public TimeSpan SyncInterval { get; set; } = new StoreOptions().SyncInterval;

    /// <summary>Embedded: bytes of the block cache.</summary>
    public long BlockCacheBytes { get; set; } = new StoreOptions().BlockCacheBytes;

    /// <summary>Embedded: bytes of a memtable.</summary>
    public long MemtableBytes { get; set; } = new StoreOptions().MemtableBytes;

    /// <summary>Embedded: the longest value.</summary>
    public int MaxValueBytes { get; set; } = new StoreOptions().MaxValueBytes;

    /// <summary>Remote: how long a call may take. Default: 30 s.</summary>
    public TimeSpan Deadline { get; set; } = new RemoteOptions().Deadline;

    /// <summary>Remote: how long to wait for a connection. Default: 5 s.</summary>
    public TimeSpan ConnectTimeout { get; set; } = new RemoteOptions().ConnectTimeout;

    /// <summary>Whether the store is in this process.</summary>
    public bool IsEmbedded => Data is not null;

    internal Func<StoreOptions, StoreOptions>? StoreChange { get; private set; }

    internal Func<RemoteOptions, RemoteOptions>? RemoteChange { get; private set; }

    /// <summary>Embedded: changes whatever else a store can be opened with (merge functions, for example), after the properties here.</summary>
    public void ConfigureStore(Func<StoreOptions, StoreOptions> change) => StoreChange = change;

    /// <summary>Remote: changes whatever else a client can be told, after the properties here.</summary>
    public void ConfigureRemote(Func<RemoteOptions, RemoteOptions> change) => RemoteChange = change;

    internal StoreOptions ToStoreOptions()
    {
        StoreOptions options = new()
        {
            Durability = Durability,
            Engine = Engine,
            Volatile = Volatile,
            SyncInterval = SyncInterval,
            BlockCacheBytes = BlockCacheBytes,
            MemtableBytes = MemtableBytes,
            MaxValueBytes = MaxValueBytes,
        };
        return StoreChange?.Invoke(options) ?? options;
    }

    internal RemoteOptions ToRemoteOptions()
    {
        RemoteOptions options = new()
        {
            Deadline = Deadline,
            ConnectTimeout = ConnectTimeout,
            Control = Control is null ? null : ServerAddress.Parse(Control, ServerAddress.ControlPort),
        };
        return RemoteChange?.Invoke(options) ?? options;
    }
}
