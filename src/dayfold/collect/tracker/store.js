"use strict";

// Names and texts under a prefix of localStorage; in memory what the browser does not keep, for as long as the page lives.
const openStore = (prefix, forget) => {
  const memory = {};
  let storage;
  try {
    storage = localStorage;
    if (forget) {
      for (const name of Object.keys(storage)) if (name.startsWith("dayfold.")) storage.removeItem(name);
      storage = null;
    }
  } catch {}
  return {
    shared: !!storage,
    names: () => {
      const names = Object.keys(memory);
      try {
        for (const name of Object.keys(storage)) if (name.startsWith(prefix)) names.push(name.slice(prefix.length));
      } catch {}
      return names;
    },
    get: (name) => {
      try {
        return memory[name] ?? storage.getItem(prefix + name);
      } catch {}
    },
    put: (name, text) => {
      try {
        storage.setItem(prefix + name, text);
        delete memory[name];
      } catch {
        memory[name] = text;
      }
    },
    drop: (name) => {
      delete memory[name];
      try {
        storage.removeItem(prefix + name);
      } catch {}
    },
  };
};
