using System.Globalization;
using System.Text;
using KeyVa.Histories;

namespace KeyVa.Tests.Histories;

/// <summary>
/// Registers as keys of a store, embedded or remote. Values are long enough for tables to fill. A compare-and-set asks for the
/// version, where this client knows the version of the value that is expected, every other time; else for the value.
/// </summary>
internal sealed class StoreRegisterClient(IStore store, bool synchronously) : IRegisterClient
{
    private const int ValueBytes = 80;

    private readonly Dictionary<int, (int Value, long Version)> _seen = [];
    private bool _byVersion;

    public async ValueTask<RegisterReply> ReadAsync(int key)
    {
        try
        {
            ReadResult read = await store.GetAsync(Key(key));
            switch (read.Status)
            {
                case Status.Ok:
                    int value = int.Parse(read.Record.Value.Span, CultureInfo.InvariantCulture);
                    _seen[key] = (value, read.Record.Version);
                    return new RegisterReply(Outcome.Ok, value);
                case Status.NotFound:
                    return new RegisterReply(Outcome.Ok);
                default:
                    return RegisterReply.Unknown;
            }
        }
        catch (StoreException)
        {
            return RegisterReply.Unknown;
        }
    }

    public ValueTask<RegisterReply> WriteAsync(int key, int value) => PutAsync(key, value, default);

    public ValueTask<RegisterReply> CompareAndSetAsync(int key, int? expected, int? value)
    {
        Condition condition = Condition.IfAbsent;
        if (expected is { } number)
        {
            _byVersion = !_byVersion;
            condition = _byVersion && _seen.TryGetValue(key, out var seen) && seen.Value == number
                ? Condition.IfVersion(seen.Version)
                : Condition.IfValue(Value(number));
        }

        return value is { } put ? PutAsync(key, put, condition) : DeleteAsync(key, condition);
    }

    public ValueTask<RegisterReply> RemoveAsync(int key) => DeleteAsync(key, default);

    private async ValueTask<RegisterReply> PutAsync(int key, int value, Condition condition)
    {
        WriteOptions options = new() { Condition = condition };
        try
        {
            WriteResult result = synchronously
                ? ((Store)store).Upsert(Key(key), Value(value), options)
                : await store.UpsertAsync(Key(key), Value(value), options);
            if (result.IsOk)
            {
                _seen[key] = (value, result.Version);
            }

            return Reply(result.Status);
        }
        catch (StoreException)
        {
            return RegisterReply.Unknown;
        }
    }

    private async ValueTask<RegisterReply> DeleteAsync(int key, Condition condition)
    {
        try
        {
            WriteResult result = synchronously ? ((Store)store).Remove(Key(key), condition) : await store.RemoveAsync(Key(key), condition);
            return Reply(result.Status);
        }
        catch (StoreException)
        {
            return RegisterReply.Unknown;
        }
    }

    // Held says whether a condition held or a removed key was there; after a plain write nobody looks at it.
    private static RegisterReply Reply(Status status) => status switch
    {
        Status.Ok => new RegisterReply(Outcome.Ok, null, true),
        Status.ConditionFailed or Status.NotFound => new RegisterReply(Outcome.Ok, null, false),
        Status.Failed => RegisterReply.Unknown,
        _ => RegisterReply.Fail,
    };

    private static byte[] Key(int key) => Encoding.ASCII.GetBytes($"register{key}");

    private static byte[] Value(int value) => Encoding.ASCII.GetBytes(value.ToString(CultureInfo.InvariantCulture).PadLeft(ValueBytes, '0'));
}
