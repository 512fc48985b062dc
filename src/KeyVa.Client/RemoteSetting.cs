namespace KeyVa.Client;

/// <summary>A setting of a server, as it counts.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Value">The value, as one would write it.</param>
/// <param name="Source">Where it comes from: <c>default</c>, the file, the variable, the flag, or <c>run time</c>.</param>
/// <param name="Default">The value if nobody has set it.</param>
/// <param name="Allowed">For a person: what it may be.</param>
/// <param name="Description">For a person: what it does.</param>
/// <param name="Changeable">Whether the running server can take another one.</param>
public sealed record RemoteSetting(
    string Name, string Value, string Source, string Default, string Allowed, string Description, bool Changeable);

/// <summary>A setting of a server after a change.</summary>
/// <param name="Setting">The setting, as it counts now.</param>
/// <param name="Detail">For a person: how long it lasts.</param>
public sealed record RemoteSettingChange(RemoteSetting Setting, string Detail);
