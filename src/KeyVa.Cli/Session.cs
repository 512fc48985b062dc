using System.CommandLine;
using KeyVa.Client;

namespace KeyVa.Cli;

/// <summary>
/// What lasts over the commands of one process: the terminal and the connections. A shell runs many commands in one
/// session, one after the other.
/// </summary>
internal sealed class Session : IAsyncDisposable
{
    private readonly Dictionary<string, RemoteStore> _stores = new(StringComparer.Ordinal);
    private readonly Dictionary<string, RemoteControl> _controls = new(StringComparer.Ordinal);

    public Session(Terminal terminal, Interrupts interrupts)
    {
        Terminal = terminal;
        Interrupts = interrupts;
    }

    public Terminal Terminal { get; }

    public Interrupts Interrupts { get; }

    public GlobalOptions Options { get; } = new();

    /// <summary>Whether commands come from a shell: some cannot be used there.</summary>
    public bool InShell { get; set; }

    /// <summary>The transaction that the shell's commands run in; null: none.</summary>
    public TransactionStore? Transaction { get; set; }

    public RemoteStore Store(ServerAddress address, ServerAddress control)
    {
        string name = $"{address} {control}";
        if (!_stores.TryGetValue(name, out RemoteStore? store))
        {
            store = RemoteStore.Connect(address, new RemoteOptions { Control = control });
            _stores.Add(name, store);
        }

        return store;
    }

    public RemoteControl Control(ServerAddress address)
    {
        if (!_controls.TryGetValue(address.ToString(), out RemoteControl? control))
        {
            control = RemoteControl.Connect(address);
            _controls.Add(address.ToString(), control);
        }

        return control;
    }

    public async ValueTask DisposeAsync()
    {
        if (Transaction is { } transaction)
        {
            await transaction.DisposeAsync();
        }

        foreach (RemoteStore store in _stores.Values)
        {
            await store.DisposeAsync();
        }

        foreach (RemoteControl control in _controls.Values)
        {
            await control.DisposeAsync();
        }
    }
}

/// <summary>One command line that is being carried out.</summary>
internal readonly struct Invocation
{
    public Invocation(Session session, ParseResult result, CancellationToken cancellation)
    {
        Session = session;
        Result = result;
        Cancellation = cancellation;
    }

    public Session Session { get; }

    public ParseResult Result { get; }

    public CancellationToken Cancellation { get; }

    public Terminal Terminal => Session.Terminal;

    public bool Json => Result.GetValue(Session.Options.Json);

    public KeyEncoding KeyEncoding => Session.Options.KeyEncodingOf(Result);

    public RemoteStore Store => Session.Store(Session.Options.ServerOf(Result), Session.Options.ControlOf(Result));

    public RemoteIndexes Indexes => Store.Indexes;

    /// <summary>What commands about keys go to: the shell's transaction, or the store.</summary>
    public IStore Keys => (IStore?)Session.Transaction ?? Store;

    public RemoteControl Control => Session.Control(Session.Options.ControlOf(Result));

    public T? Get<T>(Option<T> option) => Result.GetValue(option);

    public T Get<T>(Argument<T> argument) => Result.GetValue(argument)!;

    /// <summary>The bytes of a key argument.</summary>
    public byte[] Key(string text) => KeyText.ParseKey(text, KeyEncoding);

    /// <summary>The bytes of an option that holds a part of a key; empty if it is not given.</summary>
    public byte[] KeyPart(Option<string?> option) =>
        Get(option) is { } text ? KeyText.Parse(text, KeyEncoding, option.Name) : [];

    /// <summary>Writes one line of JSON to the output.</summary>
    public void WriteJson(Action<System.Text.Json.Utf8JsonWriter> properties)
    {
        Terminal.Out.Flush();
        using (System.Text.Json.Utf8JsonWriter json = new(Terminal.Output, RecordJson.Options))
        {
            json.WriteStartObject();
            properties(json);
            json.WriteEndObject();
        }

        Terminal.Output.WriteByte((byte)'\n');
    }
}
