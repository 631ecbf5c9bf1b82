// The database's form. README.md explains the columns. A change that an older sengd could not read raises
// kStoreSchema and adds a step to kMigrations; nothing is ever taken out of a step that was released.
#pragma once

namespace seng {

inline constexpr int kStoreSchema = 2;
inline constexpr int kStoreApplicationId = 0x53454e47;  // "SENG", in the file's header

// kMigrations[i] makes schema i + 1 of schema i.
inline constexpr const char* kMigrations[kStoreSchema] = {
    R"sql(
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('incarnation', 0);
CREATE TABLE jobs (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL,
  state TEXT NOT NULL,
  record BLOB NOT NULL,
  spec_yaml TEXT NOT NULL,
  plan_json TEXT NOT NULL);
CREATE TABLE epochs (
  job INTEGER NOT NULL, incarnation INTEGER NOT NULL, counter INTEGER NOT NULL,
  record BLOB NOT NULL,
  PRIMARY KEY (job, incarnation, counter)) WITHOUT ROWID;
CREATE TABLE actors (
  job INTEGER NOT NULL, actor INTEGER NOT NULL,
  pid INTEGER NOT NULL, start_time_ticks INTEGER NOT NULL, token TEXT NOT NULL,
  record BLOB NOT NULL,
  PRIMARY KEY (job, actor)) WITHOUT ROWID;
CREATE TABLE events (
  id INTEGER PRIMARY KEY,
  at REAL NOT NULL, job INTEGER NOT NULL, actor INTEGER, severity INTEGER NOT NULL,
  kind TEXT NOT NULL, text TEXT NOT NULL);
CREATE INDEX events_of_job ON events (job, id);
CREATE TABLE steps (
  job INTEGER NOT NULL, step INTEGER NOT NULL,
  record BLOB NOT NULL,
  PRIMARY KEY (job, step)) WITHOUT ROWID;
CREATE TABLE epoch_metrics (
  job INTEGER NOT NULL, step INTEGER NOT NULL,
  record BLOB NOT NULL,
  PRIMARY KEY (job, step)) WITHOUT ROWID;
CREATE TABLE checkpoints (
  job INTEGER NOT NULL, step INTEGER NOT NULL,
  at REAL NOT NULL, path TEXT NOT NULL, weights_sha256 TEXT NOT NULL, state_sha256 TEXT NOT NULL,
  PRIMARY KEY (job, step)) WITHOUT ROWID;
)sql",
    // An older sengd would have a tuned job's actors go by other choices.
    R"sql(
ALTER TABLE jobs ADD COLUMN tuning BLOB;
)sql",
};

}  // namespace seng
