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

    public RemoteStore Store(ParseResult result)
    {
        ServerAddress address = Options.ServerOf(result);
        string name = NameOf(result, address);
        if (!_stores.TryGetValue(name, out RemoteStore? store))
        {
            store = RemoteStore.Connect(address, Options.RemoteOf(result, Terminal));
            _stores.Add(name, store);
        }

        return store;
    }

    public RemoteControl Control(ParseResult result)
    {
        ServerAddress address = Options.ControlOf(result);
        string name = NameOf(result, address);
        if (!_controls.TryGetValue(name, out RemoteControl? control))
        {
            control = RemoteControl.Connect(address, Options.RemoteOf(result, Terminal));
            _controls.Add(name, control);
        }

        return control;
    }

    /// <summary>A password is asked for once in a session, not by each command.</summary>
    private string NameOf(ParseResult result, ServerAddress address) =>
        string.Join(' ', Options.Given(result).Select(static one => $"{one.Key}={one.Value}").Prepend(address.ToString()).Append(result.GetValue(Options.Profile)));

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

    public RemoteStore Store => Session.Store(Result);

    public RemoteIndexes Indexes => Store.Indexes;

    /// <summary>What commands about keys go to: the shell's transaction, or the store.</summary>
    public IStore Keys => (IStore?)Session.Transaction ?? Store;

    public RemoteControl Control => Session.Control(Result);

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
