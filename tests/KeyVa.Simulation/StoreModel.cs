using System.Globalization;
using System.Text;

namespace KeyVa.Simulation;

/// <summary>A value as the model knows it; null: removed.</summary>
internal sealed record ModelValue(string Text, long Version, long ExpiresAt);

/// <summary>What one write changed.</summary>
internal sealed record ModelWrite(IReadOnlyList<(string Key, ModelValue? Value)> Changes, long Version);

/// <summary>
/// What the store should hold: the writes in the order of the log. A crash may take writes from its end, never from its
/// middle; the model finds out which prefix the store came back with.
/// </summary>
internal sealed class StoreModel
{
    private readonly List<ModelWrite> _writes = [];
    private readonly SortedDictionary<string, ModelValue> _newest = new(StringComparer.Ordinal);

    /// <summary>Writes so far.</summary>
    public int Count => _writes.Count;

    /// <summary>The keys that are there, expired ones too.</summary>
    public IEnumerable<string> Keys => _newest.Keys;

    public void Add(ModelWrite write)
    {
        _writes.Add(write);
        Apply(_newest, write);
    }

    public ModelValue? Find(string key, long now) =>
        _newest.TryGetValue(key, out ModelValue? value) && (value.ExpiresAt == 0 || value.ExpiresAt > now) ? value : null;

    /// <summary>The present state as text, a line for each key.</summary>
    public string State(long now) => StateAt(_writes.Count, now);

    /// <summary>
    /// Finds the longest prefix of at least <paramref name="least"/> writes whose state is <paramref name="found"/>, and
    /// forgets the writes behind it. False if there is none.
    /// </summary>
    public bool TryCutTo(string found, int least, long now)
    {
        for (int count = _writes.Count; count >= least; count--)
        {
            if (StateAt(count, now) == found)
            {
                _writes.RemoveRange(count, _writes.Count - count);
                _newest.Clear();
                foreach (ModelWrite write in _writes)
                {
                    Apply(_newest, write);
                }

                return true;
            }
        }

        return false;
    }

    /// <summary>The version of a write, counted from 0.</summary>
    public long VersionOf(int write) => _writes[write].Version;

    /// <summary>The keys of a range that rolling back to the state after so many writes changes, and what they become.</summary>
    public List<(string Key, ModelValue? Value)> RollBack(int count, Func<string, bool> isWithin, long now)
    {
        var then = new SortedDictionary<string, ModelValue>(StringComparer.Ordinal);
        foreach (ModelWrite write in _writes.Take(count))
        {
            Apply(then, write);
        }

        var changes = new List<(string, ModelValue?)>();
        foreach (string key in then.Keys.Union(_newest.Keys).Where(isWithin))
        {
            ModelValue? was = then.TryGetValue(key, out ModelValue? old) && (old.ExpiresAt == 0 || old.ExpiresAt > now) ? old : null;
            ModelValue? present = Find(key, now);
            if (was?.Text != present?.Text || was?.ExpiresAt != present?.ExpiresAt)
            {
                changes.Add((key, was));
            }
        }

        return changes;
    }

    public string StateAt(int count, long now)
    {
        if (count == _writes.Count)
        {
            return Render(_newest.Select(p => (p.Key, p.Value)), now);
        }

        var state = new SortedDictionary<string, ModelValue>(StringComparer.Ordinal);
        foreach (ModelWrite write in _writes.Take(count))
        {
            Apply(state, write);
        }

        return Render(state.Select(p => (p.Key, p.Value)), now);
    }

    public static string Render(IEnumerable<(string Key, ModelValue Value)> records, long now)
    {
        var text = new StringBuilder();
        foreach ((string key, ModelValue value) in records)
        {
            if (value.ExpiresAt == 0 || value.ExpiresAt > now)
            {
                text.Append(CultureInfo.InvariantCulture, $"{key}={value.Text}@{value.Version}!{value.ExpiresAt}\n");
            }
        }

        return text.ToString();
    }

    private static void Apply(SortedDictionary<string, ModelValue> state, ModelWrite write)
    {
        foreach ((string key, ModelValue? value) in write.Changes)
        {
            if (value is null)
            {
                state.Remove(key);
            }
            else
            {
                state[key] = value;
            }
        }
    }
}
